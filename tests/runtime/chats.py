"""Chat templates of the kinds that there are, and conversations."""

from __future__ import annotations

from typing import Any

CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

HEADERS = """{{- bos_token }}
{%- set ns = namespace(told=false, at=0) %}
{%- if tools is defined and tools is not none %}
    {{- '<|start_header_id|>system<|end_header_id|>\\n\\nTools: ' + (tools | tojson(indent=2)) + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'system' and not loop.first %}
        {{- raise_exception('A system message comes first.') }}
    {%- endif %}
    {%- set ns.at = loop.index %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message.content is string %}
        {{- message['content'] | trim }}
    {%- else %}
        {%- for part in message.content if part.type == 'text' %}{{- part.text }}{%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""

INSTRUCT = """{{ bos_token }}{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Roles alternate user/assistant/user/assistant/...') }}
    {% endif %}
    {% if message['role'] == 'user' %}
        {{ '[INST] ' + message['content'] + ' [/INST]' }}
    {% elif message['role'] == 'assistant' %}
        {% generation %}{{ message['content'] + eos_token }}{% endgeneration %}
    {% else %}{% break %}
    {% endif %}
{% endfor %}"""

DATED = """{%- set today = strftime_now('%Y-%m-%d') -%}
Today is {{ today }}.
{% for message in messages -%}
    {%- if message.content == '' %}{% continue %}{% endif -%}
    {{ message | tojson }}{{ '\\n' if not loop.last }}
{%- endfor -%}"""

TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "instruct": INSTRUCT, "dated": DATED}


def said(*parts: Any, first: str = "user") -> list[dict[str, Any]]:
    """A conversation that a user begins, or another."""
    other = {"user": "assistant", "assistant": "user"}
    roles = [first if place % 2 == 0 else other[first] for place in range(len(parts))]
    return [{"role": role, "content": part} for role, part in zip(roles, parts, strict=True)]


CONVERSATIONS = {
    "one": said("What is the capital of France?"),
    "three": said("Hi", "Hello! How can I help?", "  Tell me\n\na joke.  "),
    "system": [{"role": "system", "content": "Be brief."}, *said("Why?", "Because.", "<b>&amp;</b> \"quotes\" 'too'")],
    "foreign": said("こんにちは 😀 é", "{{ not a template }}", "{% raw %}"),
    "empty": said("", "", "x"),
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}
    ],
}
