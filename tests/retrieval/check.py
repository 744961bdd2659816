#!/usr/bin/env python3
"""Does weir answer as well as its model can?  nDCG@10 of weir against the same model run outside it.

usage: check.py DATA_DIR http://127.0.0.1:7080      a running suite, by its JSON API

DATA_DIR holds a Cranfield collection: cran.all.1400.xml, cran.qry.xml, cranqrel.trec.txt (grade >= 1 is relevant;
judgements number the queries in file order).  The reference embeds the same chunks with ONNX Runtime for Python
and a tokenizer written here over unicodedata, and ranks by exact cosine; a document counts by its best chunk.
Exit 1 when the two differ by more than 0.01.  Needs numpy and onnxruntime (the base system has both).
"""

import argparse
import json
import math
import pathlib
import re
import sys
import unicodedata
import urllib.request

import numpy as np

MODEL = pathlib.Path(__file__).resolve().parents[2] / ".model/all-minilm-l6-v2"
MAX_TOKENS, OVERLAP_TOKENS, DIMENSION, TOLERANCE = 256, 32, 384, 0.01
COLLECTION = "retrieval-check"


# ---- the collection ----

def read_collection(folder):
    """(texts of documents in file order, texts of queries, {query: relevant documents}), numbered from 0."""
    documents = []
    for block in re.findall(r"<doc>(.*?)</doc>", (folder / "cran.all.1400.xml").read_text(), re.S):
        title, text = (re.search(f"<{tag}>(.*?)</{tag}>", block, re.S) for tag in ("title", "text"))
        title, text = (found.group(1).strip() if found else "" for found in (title, text))
        documents.append(text if text.startswith(title) else f"{title}\n\n{text}")
    queries = re.findall(r"<title>(.*?)</title>", (folder / "cran.qry.xml").read_text(), re.S)
    relevant = {}
    for line in (folder / "cranqrel.trec.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        if int(grade) >= 1:
            relevant.setdefault(int(query) - 1, set()).add(int(document) - 1)
    return documents, [" ".join(q.split()) for q in queries], relevant


def ndcg_at_10(ranking, wanted):
    gain = sum(1 / math.log2(place + 2) for place, document in enumerate(ranking[:10]) if document in wanted)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(10, len(wanted))))


def mean_ndcg(rankings, relevant):
    return sum(ndcg_at_10(rankings[query], relevant[query]) for query in relevant) / len(relevant)


def rank(chunk_documents, chunk_vectors, query_vectors):
    rankings = []
    for scores in query_vectors @ chunk_vectors.T:
        order = np.argsort(-scores, kind="stable")
        rankings.append(list(dict.fromkeys(int(chunk_documents[i]) for i in order)))
    return rankings


# ---- the reference ----

def words_of(text):
    cleaned = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    stripped = "".join(c for c in unicodedata.normalize("NFD", cleaned) if unicodedata.category(c) != "Mn").lower()
    for word in stripped.split():
        run = ""
        for c in word:
            is_sign = unicodedata.category(c)[0] == "P" or (c.isascii() and not c.isalnum())
            is_alone = is_sign or "\u4e00" <= c <= "\u9fff"
            if is_alone:
                yield from (run, c) if run else (c,)
                run = ""
            else:
                run += c
        if run:
            yield run


def ids_of(text, vocabulary):
    ids = [vocabulary["[CLS]"]]
    for word in words_of(text):
        pieces, start = [], 0
        while start < len(word) <= 100:
            ends = range(len(word), start, -1)
            end = next((e for e in ends if ("##" if start else "") + word[start:e] in vocabulary), None)
            if end is None:
                break
            pieces.append(vocabulary[("##" if start else "") + word[start:end]])
            start = end
        ids += pieces if start == len(word) else [vocabulary["[UNK]"]]
    return ids[: MAX_TOKENS - 1] + [vocabulary["[SEP]"]]


def embed_outside(texts):
    import onnxruntime

    lines = (MODEL / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocabulary = {piece: number for number, piece in enumerate(lines)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"])
    vectors = []
    for text in texts:
        ids = np.array([ids_of(text, vocabulary)], np.int64)
        vectors.append(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return np.array(vectors)


# ---- weir ----

def call(url, method, **request):
    asked = urllib.request.Request(
        f"{url}/weir.v1.{method}", json.dumps(request).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=600) as answer:
        return json.load(answer)


def ingest(url, documents):
    chunking = {"maxTokens": MAX_TOKENS, "overlapTokens": OVERLAP_TOKENS}
    collection = {"collectionId": COLLECTION, "embeddingModel": MODEL.name, "chunking": chunking}
    call(url, "CollectionService/CreateCollection", collection=collection, requestId="retrieval-check")
    for number, text in enumerate(documents):
        if text.strip():
            call(url, "DocumentService/IngestDocument", collectionId=COLLECTION, documentId=str(number), text=text,
                 mediaType="text/plain")
    while not call(url, "CollectionService/WaitCollection", collectionId=COLLECTION, timeout="30s").get("settled"):
        pass  # whoever runs this gives it a deadline


def chunks_of(url, number):
    token = ""
    while True:
        page = call(url, "DocumentService/ListChunks", collectionId=COLLECTION, documentId=str(number), pageToken=token)
        yield from ((number, chunk["text"]) for chunk in page.get("chunks", []))
        token = page.get("nextPageToken", "")
        if not token:
            return


def by_suite(url, documents, queries):
    ingest(url, documents)
    rankings = []
    for query in queries:
        answer = call(
            url, "SearchService/Search", collectionId=COLLECTION, text=query, topK=50, exact=True, omitText=True
        )
        rankings.append(list(dict.fromkeys(int(hit["documentId"]) for hit in answer.get("hits", []))))
    return rankings, [c for number, text in enumerate(documents) if text.strip() for c in chunks_of(url, number)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("url")
    options = parser.parse_args()
    if not (options.data / "cran.qry.xml").exists() or not (MODEL / "model.onnx").exists():
        print("retrieval: no Cranfield collection or no model here: nothing to check")
        sys.exit(77)
    documents, queries, relevant = read_collection(options.data)
    rankings, chunks = by_suite(options.url, documents, queries)
    numbers = [number for number, _ in chunks]
    outside = rank(numbers, embed_outside([text for _, text in chunks]), embed_outside(queries))
    mine, reference = mean_ndcg(rankings, relevant), mean_ndcg(outside, relevant)
    print(f"retrieval: {len(documents)} documents, {len(chunks)} chunks, {len(relevant)} queries: "
          f"nDCG@10 weir {mine:.4f}, the same model outside {reference:.4f}")
    sys.exit(0 if abs(mine - reference) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
