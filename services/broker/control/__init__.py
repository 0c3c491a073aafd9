"""The control API: commands and questions to a broker over HTTP.

What it promises its users stands in the control API's reference.
"""

from services.broker.control.routes import control_resource
from services.broker.control.site import control_site

__all__ = ["control_resource", "control_site"]
