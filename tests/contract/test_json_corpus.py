import csv

import pytest

from tests.support.gateways import a_gateway
from tests.support.pictures import CORPUS

INDEX = CORPUS / "json.csv"


@pytest.mark.skipif(not INDEX.exists(), reason="there is no corpus beside the checkout")
@pytest.mark.parametrize("path", ["/predict", "/v1/jobs"])
async def test_no_json_of_the_corpus_is_our_fault(path: str) -> None:
    rows = list(csv.DictReader(INDEX.read_text(encoding="utf-8").splitlines()))
    wrong = []
    async with a_gateway(default_wait_s=0) as gateway:
        for row in rows:
            body = (CORPUS / row["path"]).read_bytes()
            answer = await gateway.client.post(path, content=body, headers={"Content-Type": "application/json"})
            told = [error["pointer"] for error in answer.json()["errors"]]
            # No body of the corpus is a request of ours, so even well-formed ones are refused: for their shape.
            misread = row["expect"] == "reject" and told != ["#"]
            if answer.status_code != 422 or answer.json()["code"] != "validation-error" or misread:
                wrong.append((row["path"], row["expect"], answer.status_code, told))

    assert len(rows) == 900
    assert wrong == []
