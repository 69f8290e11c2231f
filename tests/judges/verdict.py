"""What every judge shares: reading lines of JSON strictly, and saying what was found."""

import json
import re
import sys

BLANKS = re.compile(r"[ \t\r\n]*")
# Enough to see what is wrong; a broken row of a table is wrong in every document.
SHOWN_MAX = 20


def unique(pairs):
    """An object of which no key stands twice, as a reader of JSON may ask."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError(f"a key stands twice: {sorted(key for key, _ in pairs)}")
    return members


def no_constant(text):
    """Python takes `NaN` and `Infinity`, which JSON has not."""
    raise ValueError(f"no JSON: {text}")


def strict(text):
    """The value of a JSON text without what only Python takes."""
    return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)


def lines():
    """The lines of standard input without their ends, each with its place."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        yield f"line {number}", line.removesuffix(b"\n").decode("utf-8")


def values():
    """The JSON values of standard input, however they are set apart."""
    text = sys.stdin.buffer.read().decode("utf-8")
    decoder = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_constant)
    at = 0
    while (at := BLANKS.match(text, at).end()) < len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError:
            end = len(text)
        yield f"byte {at}", text[at:end]
        at = end


def judge(rule, given):
    """Prints what `rule`, which yields the problems of one text, says of all texts given."""
    judged, problems = 0, {}
    for place, text in given:
        judged += 1
        try:
            found = list(rule(text))
        except Exception as error:  # A parser that refuses is a verdict like any other.
            found = [f"{type(error).__name__}: {error}"]
        for problem in found:
            count, first = problems.get(problem, (0, None))
            problems[problem] = (count + 1, first or f"{place}: {text[:2000]}")
    print(f"{judged} judged")
    for problem, (count, first) in list(problems.items())[:SHOWN_MAX]:
        print(f"{count} times: {problem}\n  first in {first}")
    sys.exit(1 if problems else 0)
