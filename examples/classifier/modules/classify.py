"""Learn from labelled texts, test, and say the class of every text. scikit-learn: see `setup`."""
import csv
import io
import pickle

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pipelinefile import Doc, module


@module
def train(docs) -> bytes:
    texts, labels = zip(*((doc.text(), doc.meta["label"]) for doc in docs))
    model = make_pipeline(TfidfVectorizer(min_df=2, sublinear_tf=True), LogisticRegression(C=10, max_iter=1000, random_state=0))
    model.fit(texts, labels)
    print(f"{len(texts)} documents, {len(set(labels))} classes, {len(model[0].vocabulary_)} words")
    return pickle.dumps(model, protocol=5)


@module
def evaluate(docs, *, model: Doc):
    model, rows = pickle.loads(model.bytes()), [(doc.id, doc.text(), doc.meta["label"]) for doc in docs]
    said = model.predict([text for _, text, _ in rows])
    wrong = [{"doc": name, "label": label, "said": str(it)} for (name, _, label), it in zip(rows, said) if it != label]
    return {"documents": len(rows), "right": len(rows) - len(wrong), "wrong": wrong}


def load(*, model: Doc):
    """Once for each worker."""
    return pickle.loads(model.bytes())


@module(setup=load)
def apply(doc: Doc, model):
    shares = model.predict_proba([doc.text()])[0]
    share, name = max(zip(shares, model.classes_))
    return {"class": str(name), "share": round(float(share), 2)}


@module
def table(docs) -> str:
    out = io.StringIO()
    rows = ([doc.id, doc.json()["class"], f"{doc.json()['share']:.2f}"] for doc in docs)
    csv.writer(out, lineterminator="\n").writerows([["doc", "class", "share"], *rows])
    return out.getvalue()
