"""Judges OCSF events, one a line, by the framework's published definitions.

The package `ocsf-json-schema` has them and makes a JSON Schema of a class and its profiles; what a
JSON Schema does not say (captions of numbers) is read from the same definitions here.
"""

import jsonschema_rs
from ocsf_json_schema import OcsfJsonSchema, OcsfJsonSchemaEmbedded, get_ocsf_schema
from verdict import judge, lines, strict

VERSION = "1.8.0"
DEFINITIONS = get_ocsf_schema(VERSION)
NAMES = OcsfJsonSchema(DEFINITIONS)
VALIDATORS = {}


def validator(uid, profiles):
    key = (uid, profiles)
    if key not in VALIDATORS:
        name = NAMES.lookup_class_name_from_uid(uid)
        # Made anew each time: embedding rewrites what it is given.
        schema = OcsfJsonSchemaEmbedded(DEFINITIONS).get_class_schema(name, list(profiles))
        VALIDATORS[key] = (DEFINITIONS["classes"][name], jsonschema_rs.validator_for(schema))
    return VALIDATORS[key]


def captions(value, definition, at):
    """A number that has a name in the definitions goes with that name, or with none."""
    for name, attribute in definition["attributes"].items():
        if name not in value:
            continue
        if attribute.get("type") == "object_t":
            inner = DEFINITIONS["objects"][attribute["object_type"]]
            several = value[name] if attribute.get("is_array") else [value[name]]
            for each in several:
                yield from captions(each, inner, f"{at}.{name}")
        sibling = attribute.get("sibling")
        if sibling is None or sibling not in value or "enum" not in attribute:
            continue
        caption = attribute["enum"][str(value[name])]["caption"]
        # 99 is "Other": the caption is the source's own word.
        if value[name] != 99 and value[sibling] != caption:
            yield f"{at}.{sibling}: {value[sibling]} where {value[name]} is {caption}"


def rule(text):
    event = strict(text)
    if event["metadata"]["version"] != VERSION:
        yield f"metadata.version is {event['metadata']['version']}"
    profiles = tuple(event["metadata"].get("profiles", []))
    definition, valid = validator(event["class_uid"], profiles)
    for profile in profiles:
        if profile not in definition["profiles"]:
            yield f"{definition['name']} has no profile {profile}"
    problems = [f"{definition['name']} {list(it.instance_path)}: {it.message[:300]}"
                for it in valid.iter_errors(event)]
    yield from problems
    if not problems:
        yield from captions(event, definition, definition["name"])
    expected = event["class_uid"] * 100 + event["activity_id"]
    if event["type_uid"] != expected:
        yield f"type_uid is {event['type_uid']}, expected {expected}"


judge(rule, lines())
