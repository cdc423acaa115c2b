"""A smart card with a PIV applet (NIST SP 800-73-4, part 2) in a virtual reader, so that OpenSC and pcscd
can be had without a card: keys 9A (PIN once) and 9C (PIN for each signature), and a PIN that three wrong
tries lock. The reader (vpcd) is a TCP port: a connection is a card that is inserted."""
import datetime
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

DRIVER = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
AID = bytes.fromhex("a000000308000010000100")
# OpenSC uses EC keys only of cards that it knows by their answer to reset: a YubiKey 4's.
ATR = bytes.fromhex("3bf81300008131fe15597562696b657934d4")
# FASC-N of agency 9999: the GUID is what tells cards apart (NIST SP 800-73-4, part 1, 3.1.2).
FASC_N = bytes.fromhex("d4e739da739ced39ce739da1685a1082108ce73984108ca3fc")
CERTIFICATES = {"5fc105": 0x9A, "5fc10a": 0x9C}
TRIES = 3


def tlv(tag, value):
    length = len(value)
    head = bytes([length]) if length < 128 else bytes([0x81, length]) if length < 256 else \
        b"\x82" + struct.pack(">H", length)
    return bytes.fromhex(tag) + head + value


def certificate(key, name):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2020, 1, 1)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(1).not_valid_before(begin).not_valid_after(begin + datetime.timedelta(36500))
            .sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


class PivCard:
    """The card's side of the applet: command in, response and status word out."""

    def __init__(self, pin):
        self.pin, self.tries, self.guid = pin.encode().ljust(8, b"\xff"), TRIES, os.urandom(16)
        self.keys = {0x9A: ec.generate_private_key(ec.SECP256R1()), 0x9C: ec.generate_private_key(ec.SECP256R1())}
        self.certificates = {number: certificate(key, f"key {number:x}") for number, key in self.keys.items()}
        self.verifications = []  # the status word of each VERIFY with a PIN
        self.signatures = 0
        self.reset()

    @property
    def serial(self):
        """What OpenSC makes of the GUID: its last 16 hexadecimal digits of a token's serial number."""
        return self.guid[8:].hex()

    def reset(self):
        self.is_verified = self.is_just_verified = False
        self.command_data = self.rest = b""

    def exchange(self, apdu):
        """ISO 7816-4 with command and response chaining."""
        cla, ins, p1, p2 = apdu[:4]
        data = apdu[5:5 + apdu[4]] if len(apdu) > 5 else b""
        if ins == 0xC0:
            return self.respond(self.rest)
        self.command_data += data
        if cla & 0x10:
            return b"\x90\x00"
        data, self.command_data = self.command_data, b""
        response, status = self.command(ins, p1, p2, data)
        return self.respond(response) if status == 0x9000 else struct.pack(">H", status)

    def respond(self, response):
        self.rest = response[255:]
        return response[:255] + (bytes([0x61, min(len(self.rest), 255)]) if self.rest else b"\x90\x00")

    def command(self, ins, p1, p2, data):
        if ins == 0xA4:
            if not data or not AID.startswith(data[:9]):
                return b"", 0x6A82
            return tlv("61", tlv("4f", AID[5:]) + tlv("79", tlv("4f", AID[:5])) + tlv("50", b"PIV")), 0x9000
        if ins == 0xCB:
            return self.object(data[2:].hex())
        if ins == 0x20:
            return b"", self.verify(data)
        if ins == 0x87:
            return self.sign(p2, data)
        return b"", 0x6D00

    def object(self, tag):
        if tag == "7e":
            return tlv("7e", tlv("4f", AID) + tlv("5f2f", b"\x40\x00")), 0x9000
        if tag == "5fc102":
            return tlv("53", tlv("30", FASC_N) + tlv("34", self.guid) + tlv("35", b"20991231") + tlv("3e", b"")
                       + tlv("fe", b"")), 0x9000
        if tag in CERTIFICATES:
            return tlv("53", tlv("70", self.certificates[CERTIFICATES[tag]]) + tlv("71", b"\0")
                       + tlv("fe", b"")), 0x9000
        return b"", 0x6A82

    def verify(self, data):
        if not data:
            return 0x9000 if self.is_verified else 0x63C0 + self.tries if self.tries else 0x6983
        if self.tries == 0:
            status = 0x6983
        elif data == self.pin:
            self.tries, status = TRIES, 0x9000
        else:
            self.tries -= 1
            status = 0x63C0 + self.tries
        self.is_verified = self.is_just_verified = status == 0x9000
        self.verifications.append(status)
        return status

    def sign(self, number, data):
        """General authenticate: 7c { 82 (empty), 81 digest }."""
        if number not in self.keys:
            return b"", 0x6A88
        if not self.is_verified or (number == 0x9C and not self.is_just_verified):
            return b"", 0x6982
        self.is_just_verified = False
        digest = data[data.index(b"\x81\x20") + 2:][:32]
        self.signatures += 1
        signature = self.keys[number].sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return tlv("7c", tlv("82", signature)), 0x9000


class Reader:
    """pcscd with one virtual reader. Its socket has a fixed name (/run/pcscd/pcscd.comm), so the caller
    lives in a mount namespace whose /run is its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="athd-reader-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(os.path.join(self.dir, "vpcd"), "w", encoding="utf-8") as file:
            file.write(f'FRIENDLYNAME "Virtual"\nDEVICENAME /dev/null:0x{self.port:X}\nLIBPATH {DRIVER}\n'
                       f"CHANNELID 0x{self.port:X}\n")
        os.makedirs("/run/pcscd", exist_ok=True)
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.process = subprocess.Popen(["pcscd", "--foreground", "--config", self.dir], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self.socket = self.thread = None

    def insert(self, card):
        deadline = time.monotonic() + 20
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port), 1)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.socket.settimeout(None)
        self.thread = threading.Thread(target=self.serve, args=(card, self.socket), daemon=True)
        self.thread.start()

    def remove(self):
        if self.socket:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.thread.join()
            self.socket.close()
            self.socket = None

    @staticmethod
    def serve(card, connection):
        """vpcd's protocol: u16 length and an APDU; of length 1: 0 off, 1 on, 2 reset, 4 ATR."""
        card.reset()
        file = connection.makefile("rb")
        while True:
            try:
                head = file.read(2)
                message = file.read(struct.unpack(">H", head)[0])
            except (OSError, struct.error):
                return
            if len(message) > 1:
                answer = card.exchange(message)
            elif message == b"\x04":
                answer = ATR
            else:
                card.reset()
                continue
            connection.sendall(struct.pack(">H", len(answer)) + answer)

    def close(self):
        self.remove()
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
