"""Judges CEF lines by a parser and a dictionary that others wrote.

`pycef` takes a line apart, `cefevent` knows the keys of the dictionary with their types and lengths.
"""

import pycef
from cefevent import CEFEvent
from verdict import judge, lines

HEADER = {"DeviceVendor", "DeviceProduct", "DeviceVersion", "DeviceEventClassID", "Name",
          "DeviceName", "Severity", "DeviceSeverity", "CEFVersion"}
# The parser gives a labelled value its label for a key; these are ours.
LABELLED = {"guard": "cs1", "sessionId": "cs2", "tenantId": "cs3", "ruleset": "cs4",
            "policyHash": "cs5", "mitreTechnique": "cs6", "environment": "flexString1",
            "mitreTactic": "flexString2", "sanitizedCount": "cn1",
            "ingestedAt": "deviceCustomDate1"}
# A label with blanks, which the parser takes as it stands.
LABELLED["Destination IPv6 Address"] = "c6a3"
# Keys of the format's dictionary that the package's copy of it lacks, and their characters at most.
LACKING = {"outcome": 63}
# What the parser does not undo.
ESCAPES = [("\\=", "="), ("\\n", "\n"), ("\\r", "\r"), ("\\\\", "\\")]



def rule(text):
    values = pycef.parse(text)
    if values is None:
        yield "it is no CEF"
        return
    if values["CEFVersion"] != "0" or not values["Severity"].isdecimal():
        yield f"version {values['CEFVersion']}, severity {values['Severity']}"
    event = CEFEvent(strict=True)
    for key, value in values.items():
        if key in HEADER:
            continue
        name = LABELLED.get(key, key)
        if key in LACKING:
            if not 0 < len(value) <= LACKING[key]:
                yield f"{key}: {len(value)} characters"
            continue
        metadata = event.get_field_metadata(name)
        if metadata is None:
            yield f"{key}: in no dictionary"
            continue
        for escape, plain in ESCAPES:
            value = value.replace(escape, plain)
        if {"Integer", "Long"} & set(metadata["data_type"]):
            value = int(value)
        try:
            event.set_field(name, value)
        except ValueError as error:
            yield f"{key}: {error}"
    event.set_prefix("severity", int(values["Severity"]))


judge(rule, lines())
