"""Invoices: read, put right, matched with their vendor. Reads UBL (XML) itself and PDFs with `pdftotext`."""
from __future__ import annotations

import csv
import io
import re
import subprocess
from xml.etree import ElementTree

from pipelinefile import Doc, Result, module

UBL = {"cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
       "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"}


@module
def read(doc: Doc):
    invoice = from_pdf(doc) if doc.ext == "pdf" else from_ubl(doc.bytes())
    missing = [name for name, value in invoice.items() if not value]
    if missing:
        raise ValueError(f"no {', '.join(missing)} found")
    return Result(invoice, meta={"vat": invoice["vat"]})


def from_ubl(data: bytes) -> dict:
    root = ElementTree.fromstring(data)
    seller = root.find("cac:AccountingSupplierParty/cac:Party", UBL)

    def text(path, of=root):
        return " ".join((of.findtext(path, "", UBL)).split())

    return {
        "number": text("cbc:ID"),
        "date": text("cbc:IssueDate"),
        "vat": text("cac:PartyTaxScheme/cbc:CompanyID", seller),
        "total": text("cac:LegalMonetaryTotal/cbc:PayableAmount"),
        "currency": text("cbc:DocumentCurrencyCode"),
    }


def from_pdf(doc: Doc) -> dict:
    text = subprocess.run(["pdftotext", "-layout", "-enc", "UTF-8", doc.path, "-"],
                          check=True, capture_output=True).stdout.decode()

    def find(pattern):
        match = re.search(pattern, text)
        return match[1] if match else ""

    day = find(r"Date de facture\s+([\d/]{10})")
    return {
        "number": find(r"Facture (\S*\d)"),
        "date": "-".join(reversed(day.split("/"))),
        "vat": find(r"TVA\s*:\s*([A-Z]{2}\d+)"),
        "total": find(r"Total TTC\s+([\d ]+,\d\d)").replace(" ", "").replace(",", "."),
        "currency": "EUR" if "€" in text else "",
    }


@module
def fix(doc: Doc, *, fix: Doc | None):
    invoice = doc.json()
    if fix is not None:
        row = fix.json()
        print(f"{row['field']}: {invoice.get(row['field'])} becomes {row['value']}: {row['by']}")
        invoice[row["field"]] = row["value"]
    return Result(invoice, meta={"vat": invoice["vat"]})


@module
def enrich(doc: Doc, *, vendor: Doc | None):
    invoice = doc.json()
    if vendor is None:
        return Result(invoice, meta={"matched": False})
    row = vendor.json()
    return Result({**invoice, "vendor": row["name"], "terms": int(row["terms"])},
                  meta={"matched": True, "account": row["account"]})


@module
def worklist(docs) -> str:
    return table(["invoice", "vat", "total"], ([doc.id, doc.json()["vat"], doc.json()["total"]] for doc in docs))


@module
def ledger(docs) -> str:
    invoices = [doc.json() for doc in docs]
    rows = [[invoice["date"], invoice["vendor"], invoice["number"], invoice["total"]] for invoice in invoices]
    total = sum(round(float(invoice["total"]) * 100) for invoice in invoices)
    return table(["date", "vendor", "number", "total"], [*sorted(rows), ["", "", "", f"{total / 100:.2f}"]])


def table(head, rows) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()
