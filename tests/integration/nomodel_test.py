"""A host that has no embedding model: weir says so in a sentence and works with the hashing embedder.

usage: nomodel_test.py BUILD_FOLDER
"""

import os
import tempfile

import harness

MODEL = "all-minilm-l6-v2"


class NoModelTest(harness.OwnSuiteTest):
    def test_the_default_is_the_hashing_embedder_and_everybody_is_told(self):
        with tempfile.TemporaryDirectory(prefix="weir-none-", dir="/tmp") as empty:
            settings = (f"gateway.default_model={MODEL}", "embedder.allow_hash_models=false", f"model_dir={empty}")
            suite = self.own_suite(settings)
            printed = suite.try_up().stdout
            self.assertRegex(printed, rf"model +hash-384.*{MODEL}")
            client = suite.client()
            info = client.GetServerInfo()
            self.assertEqual(info.default_embedding_model, harness.MODEL)
            self.assertIn(MODEL, info.default_embedding_model_note)
            self.works(client)

    def works(self, client):
        text = "The mill wheel turns."
        answer = client.IngestDocument(collection_id="notes", document_id="a", text=text, wait=harness.PATIENCE)
        self.assertEqual(harness.state_name(answer.document), "READY")
        self.assertEqual(client.Search(collection_id="notes", text="mill").hits[0].text, text)
        harness.wait_for(lambda: self.is_listed_as_missing(client), "the embedder's word that the model is missing")

    @staticmethod
    def is_listed_as_missing(client):
        models = [model for model in client.ListModels().models if model.name == MODEL]
        return len(models) == 1 and not models[0].available and models[0].unavailable_reason


if __name__ == "__main__":
    os.environ.pop("WEIR_MODEL_DIR", None)
    harness.main()
