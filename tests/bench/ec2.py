"""What volinit needs to be on an EC2 instance: the metadata service and `DescribeVolumes` on a port of 127.0.0.1, and
loop devices that have the serials of EBS volumes. Every volume is in use here, and was made from no snapshot; an answer
takes about a millisecond, where EC2's own takes tens."""

import contextlib
import fcntl
import http.server
import json
import os
import shutil
import socket
import struct
import threading
import urllib.parse

import volumes

FAKE = "/run/bench/sys"
INSTANCE, ZONE = "i-0123456789abcdef0", "eu-central-1a"
CREDENTIALS = {
    "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z",
    "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "example", "Token": "example",
}
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
METADATA = {
    "instance-id": INSTANCE,
    "placement/availability-zone": ZONE,
    "placement/region": ZONE[:-1],
    "iam/security-credentials/": "volinit",
    "iam/security-credentials/volinit": json.dumps(CREDENTIALS),
}
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
VOLUME = f"""<?xml version="1.0" encoding="UTF-8"?>
<DescribeVolumesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId><volumeSet><item>
<volumeId>%s</volumeId><size>%d</size><snapshotId/><availabilityZone>{ZONE}</availabilityZone><status>in-use</status>
<createTime>2026-01-01T00:00:00.000Z</createTime><attachmentSet><item><volumeId>%s</volumeId>
<instanceId>{INSTANCE}</instanceId><device>/dev/sdf</device><status>attached</status>
<attachTime>2026-01-01T00:00:00.000Z</attachTime><deleteOnTermination>false</deleteOnTermination></item></attachmentSet>
<volumeType>gp3</volumeType><encrypted>false</encrypted><multiAttachEnabled>false</multiAttachEnabled></item></volumeSet>
</DescribeVolumesResponse>"""
# linux/sockios.h, linux/if.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def volume_id(volume):
    return f"vol-{volume.index:017x}"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body are two writes, and the second would wait for the first one's acknowledgement.
    disable_nagle_algorithm = True
    sizes = {}

    def answer(self, text, status=200, **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.answer("token", X_aws_ec2_metadata_token_ttl_seconds=21600)

    def do_GET(self):
        text = METADATA.get(self.path.removeprefix("/latest/meta-data/"))
        self.answer(text or "", status=200 if text else 404)

    def do_POST(self):
        asked = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        id_ = asked["Filter.1.Value.1"][0]
        self.answer(VOLUME % (id_, self.sizes[id_] // volumes.GIB, id_), Content_Type="text/xml;charset=UTF-8")

    def log_message(self, *_):
        pass


def start():
    """In a thread; gives the variables by which volinit finds it."""
    with socket.socket() as any_:
        fcntl.ioctl(any_, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    return {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": url}


@contextlib.contextmanager
def plugged(disks):
    """These disks are EBS volumes, as far as /sys tells of disks: a loop device has no serial of its own."""
    shutil.rmtree(FAKE, ignore_errors=True)
    for disk in disks:
        real, folder = f"/sys/block/loop{disk.number}", f"{FAKE}/devices/loop{disk.number}"
        os.makedirs(f"{folder}/device")
        for name in os.listdir(real):
            os.symlink(f"{os.path.realpath(real)}/{name}", f"{folder}/{name}")
        for name, text in [("serial", volume_id(disk).replace("-", "")), ("model", "Amazon Elastic Block Store")]:
            with open(f"{folder}/device/{name}", "w") as file:
                file.write(f"{text}\n")
        for link in (f"{FAKE}/block/loop{disk.number}", f"{FAKE}/dev/7:{disk.number}"):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(folder, link)
    Answers.sizes = {volume_id(disk): disk.size for disk in disks}
    places = {"/sys/block": "block", "/sys/dev/block": "dev"}
    for place, fake in places.items():
        volumes.run("mount", "--bind", f"{FAKE}/{fake}", place)
    try:
        yield
    finally:
        for place in places:
            volumes.run("umount", place)
