#!/usr/bin/python3
"""A token taken out and put back 1,000 times under load, by hand: ATH_BIN=build/release/bin
tests/soak/soak_hotplug.py [CYCLES]. Ten minutes; the short form is a test (test_pkcs11_hotplug.py)."""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
test = os.path.join(here, "..", "integration", "test_pkcs11_hotplug.py")
os.environ["ATH_TEST_CYCLES"] = sys.argv[1] if len(sys.argv) > 1 else "1000"
os.execv(sys.executable, [sys.executable, test, "Cycles"])
