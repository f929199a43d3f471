"""Models from configs, under the name that the class-style documentation gives them."""

from flexit.models import TransformerFactory, create_model

__all__ = ["TransformerFactory", "create_model"]
