"""Training loops of several libraries, each a script that makes a step when it is told to."""
