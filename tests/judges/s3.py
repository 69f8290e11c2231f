"""Takes objects as `moto`, an emulator of S3 that others wrote, and judges what is in the bucket.

Usage: s3.py ZSTD EVENTS, where EVENTS is the file that was read. Prints the store's address and a key
that may put objects below one prefix and nothing else; the emulator checks every signature and
permission, with the code of Amazon's own client. At the end of its standard input it says what it
thinks: every event in one object, and every object named by the digest of its bytes and known by their
checksum, without which the bucket, whose objects are locked, takes none.
"""

import base64
import collections
import json
import os
import re
import subprocess
import sys

ZSTD, EVENTS = sys.argv[1:]
BUCKET, REGION, PREFIX = "lake", "eu-central-1", "events/"
# The calls that set up the user and the bucket; every later one needs a right signature.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "5"
os.environ.update(AWS_ACCESS_KEY_ID="setup", AWS_SECRET_ACCESS_KEY="setup",
                  AWS_DEFAULT_REGION=REGION, AWS_EC2_METADATA_DISABLED="true")

import boto3
import google_crc32c
from blake3 import blake3
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

KEY = re.compile(PREFIX + r"dt=2026-02-06/hour=09/([0-9a-f]{64})\.ndjson\.zst")
PROBLEMS = collections.Counter()


def start():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    iam = boto3.client("iam", endpoint_url=url)
    iam.create_user(UserName="shrike")
    key = iam.create_access_key(UserName="shrike")["AccessKey"]
    allowed = {"Effect": "Allow", "Action": "s3:PutObject",
               "Resource": f"arn:aws:s3:::{BUCKET}/{PREFIX}*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="shrike", PolicyName="put", PolicyDocument=policy)
    place = {"LocationConstraint": REGION}
    store = boto3.client("s3", endpoint_url=url)
    store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place,
                        ObjectLockEnabledForBucket=True)
    retention = {"Mode": "GOVERNANCE", "Days": 1}
    store.put_object_lock_configuration(Bucket=BUCKET, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}})
    told = {"url": url, "bucket": BUCKET, "region": REGION, "id": key["AccessKeyId"],
            "secret": key["SecretAccessKey"]}
    print(json.dumps(told), flush=True)


def judged():
    with open(EVENTS, encoding="utf-8") as file:
        expected = [json.loads(line)["event_id"] for line in file]
    came, objects = collections.Counter(), 0
    for backends in s3_backends.values():
        for region in backends.values():
            bucket = region.buckets.get(BUCKET)
            if bucket is None:
                continue
            for name in bucket.keys:
                objects += 1
                stored = bucket.keys[name]
                named = KEY.fullmatch(name)
                if named is None or named[1] != blake3(stored.value).hexdigest():
                    PROBLEMS[f"an object named {name}"] += 1
                checksum = base64.b64encode(google_crc32c.Checksum(stored.value).digest()).decode()
                if (stored.checksum_algorithm, stored.checksum_value) != ("CRC32C", checksum):
                    PROBLEMS[f"the checksum {stored.checksum_value}"] += 1
                encoding = stored.metadata.get("Content-Encoding")
                if encoding != "zstd":
                    PROBLEMS[f"Content-Encoding is {encoding}"] += 1
                text = subprocess.run([ZSTD, "-dc"], input=stored.value, capture_output=True,
                                      check=True).stdout.decode("utf-8")
                for line in text[:-1].split("\n"):
                    came[json.loads(line)["metadata"]["uid"]] += 1
    if sorted(expected) != sorted(came.elements()):
        PROBLEMS[f"{len(came)} of {len(expected)} events, {sum(came.values())} lines"] += 1
    for problem, count in PROBLEMS.items():
        print(f"{count} times: {problem}")
    print(f"{sum(came.values())} events in {objects} objects judged", flush=True)
    os._exit(1 if PROBLEMS else 0)  # The emulator's thread does not end by itself.


start()
sys.stdin.read()
judged()
