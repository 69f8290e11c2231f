"""Judges ECS documents, one a line, by the published fields and allowed values.

Usage: ecs.py FIELDS.json...; each file is made from ECS's own generated list of one version, and a
document has to be right by all of them.
"""

import ipaddress
import json
import re
import sys

from verdict import judge, lines, strict

# What a document may have beside the published fields: the namespace of the product, and the one
# field outside of it that the planning documents ask for. The index template maps both.
OWN = {"clawdstrike", "session.id"}
# The `strict_date_optional_time` that Elasticsearch parses dates with by default.
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
# Bits of a number beside its sign.
RANGES = {"long": 63, "integer": 31, "short": 15, "byte": 7}


def is_address(value):
    try:
        ipaddress.ip_address(value)
        return True
    except ValueError:
        return False


def is_of_type(kind, value):
    if kind in RANGES:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and -(1 << RANGES[kind]) <= value < 1 << RANGES[kind]
    if kind in ("float", "scaled_float", "double"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "date":
        return isinstance(value, str) and DATE.fullmatch(value) is not None
    if kind == "ip":
        return isinstance(value, str) and is_address(value)
    if kind in ("object", "flattened", "nested"):
        return isinstance(value, dict)
    if kind in ("keyword", "wildcard", "text", "match_only_text", "constant_keyword"):
        return isinstance(value, str) and value != ""
    raise ValueError(f"a type that this judge does not know: {kind}")


class Edition:
    """The fields of one version."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            published = json.load(file)
        self.version, self.fields = published["version"], published["fields"]
        names = [*self.fields, *OWN]
        self.parents = {name[:at] for name in names for at, char in enumerate(name) if char == "."}
        required = [name for name, row in self.fields.items() if row.get("required")]
        self.required = [name.split(".") for name in required]

    def field(self, name, row, value):
        if row.get("array", False) != isinstance(value, list):
            yield f"{name}: {'no array' if row.get('array') else 'an array'}"
            return
        values = value if isinstance(value, list) else [value]
        if not values:
            yield f"{name}: empty"
        for each in values:
            if not is_of_type(row["type"], each):
                yield f"{name}: no {row['type']}: {each!r}"
            elif "allowed" in row and each not in row["allowed"]:
                yield f"{name}: not allowed: {each}"
            elif "expected" in row and each not in row["expected"]:
                yield f"{name}: not expected: {each}"
            elif row["type"] == "nested" or (row["type"] == "object" and name != "labels"):
                yield from self.members(f"{name}.", each)

    def members(self, prefix, value):
        for key, inner in value.items():
            name = prefix + key
            row = self.fields.get(name)
            if row is not None:
                yield from self.field(name, row, inner)
            elif isinstance(inner, dict) and name in self.parents:
                yield from self.members(name + ".", inner)
            elif name not in OWN:
                yield f"{name}: no such field"

    def problems(self, document):
        yield from self.members("", document)
        for parts in self.required:
            value = document
            for part in parts:
                value = value.get(part, {})
            if value == {}:
                yield f"{'.'.join(parts)}: required"
        event, expected = document["event"], set()
        for category in event["category"]:
            expected.update(self.fields["event.category"]["allowed"].get(category, []))
        for kind in event["type"]:
            if kind not in expected:
                yield f"event.type {kind} is not expected for {event['category']}"
        for key, value in document.get("labels", {}).items():
            if not isinstance(value, (str, bool, int, float)) or "." in key:
                yield f"labels.{key}: a name with dots, or no plain value"


EDITIONS = [Edition(path) for path in sys.argv[1:]]


def rule(text):
    document = strict(text)
    for edition in EDITIONS:
        yield from (f"{edition.version}: {problem}" for problem in edition.problems(document))


judge(rule, lines())
