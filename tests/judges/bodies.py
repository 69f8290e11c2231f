"""Judges bodies of JSON, as many as there are, by Python's own reader made strict."""

from verdict import judge, strict, values


def rule(text):
    value = strict(text)
    if not isinstance(value, (dict, list)) or not value:
        yield f"neither an object nor an array: {text[:80]}"


judge(rule, values())
