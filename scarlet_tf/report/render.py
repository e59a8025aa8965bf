"""The page as one HTML document: templates, style sheet, script and Plotly are all inside."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json

import jinja2
import plotly.offline
from markupsafe import Markup

from scarlet_tf.report.drawing import kernel_classes
from scarlet_tf.report.findings import cards, headline, way_on
from scarlet_tf.report.record import Record
from scarlet_tf.report.sections import sections

TEMPLATES = importlib.resources.files("scarlet_tf.report") / "templates"


def page(record: Record) -> str:
    """The text of report.html. It requests nothing from a server, and its policy forbids scripts other than its own two."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["script_json"] = script_json
    plotly_script, script = plotly.offline.get_plotlyjs(), _read("page.js")
    return environment.get_template("page.html.j2").render(
        record=record,
        headline=headline(record),
        cards=cards(record),
        way_on=way_on(record),
        sections=sections(record),
        kernels=kernel_classes(record.space),
        has_se=any(choice.use_se for choice in record.space.choices),
        style=Markup(_read("page.css")),
        plotly=Markup(plotly_script),
        script=Markup(script),
        digests=[_digest(plotly_script), _digest(script)],
    )


def script_json(value: object) -> Markup:
    """JSON that is safe inside a script element, whatever its texts are; a string is taken as JSON already."""
    text = value if isinstance(value, str) else json.dumps(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """A script's digest in the form of a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
