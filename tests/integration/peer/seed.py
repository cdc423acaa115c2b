"""What tests draw from a hat is the same each time: ATH_TEST_SEED makes other choices."""
import os

SEED = int(os.environ.get("ATH_TEST_SEED", "20261123"))
