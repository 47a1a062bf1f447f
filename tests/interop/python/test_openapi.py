"""The published contract is an OpenAPI 3.1 document."""

import unittest
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.readers import read_from_filename


class OpenAPI(unittest.TestCase):
    def test_the_contract_is_valid(self):
        document, url = read_from_filename(str(Path(__file__).parents[3] / "openapi.yaml"))
        errors = OpenAPIV31SpecValidator(document, base_uri=url).iter_errors()
        self.assertEqual([f"{list(error.path)}: {error.message}" for error in errors], [])


if __name__ == "__main__":
    unittest.main()
