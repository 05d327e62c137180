use std::path::Path;

use super::Format;
use super::columns::{Columns, Kind, plain};
use super::row::{Reader, Row};

fn row(line: &str) -> Row {
    Reader::default().row(line).unwrap()
}

#[test]
fn a_row_is_that_of_the_frame() {
    let line = r#"{"id":"in/a","ext":"json","state":"done","meta":{"lang":"en","n":{"b":1}},"text":"{\"b\": 1.50, \"a\": [1, 2], \"id\": 7, \"state\": null, \"meta.lang\": 2}"}"#;
    let expected = r#"{"id":"in/a","meta.lang":"en","meta.n":{"b":1},"b":1.50,"a":[1,2],"json.id":7,"json.state":null,"json.meta.lang":2,"state":"done"}"#;
    assert_eq!(row(line).to_json(), expected);
    let value = r#"{"id":"in/a","ext":"json","state":"done","text":"[1]"}"#;
    assert_eq!(row(value).to_json(), r#"{"id":"in/a","value":[1],"state":"done"}"#);
    let failed = r#"{"id":"in/a","state":"failed"}"#;
    assert_eq!(row(failed).to_json(), r#"{"id":"in/a","state":"failed"}"#);
    let text = r#"{"id":"in/a","ext":"txt","state":"done","text":"{}"}"#;
    assert_eq!(row(text).to_json(), r#"{"id":"in/a","state":"done"}"#);
}

#[test]
fn json_that_is_none_is_counted_and_has_no_fields() {
    let mut reader = Reader::default();
    let row = reader.row(r#"{"id":"in/a","ext":"json","state":"done","text":"{"}"#).unwrap();
    assert_eq!(row.to_json(), r#"{"id":"in/a","state":"done"}"#);
    assert_eq!(reader.no_json, ["in/a"]);
    assert!(reader.row("[]").is_err());
}

#[test]
fn columns_come_in_their_order_and_are_what_all_values_are() {
    let mut columns = Columns::default();
    for line in [
        r#"{"id":"a","ext":"json","state":"done","text":"{\"n\":1,\"t\":true,\"x\":1,\"big\":123456789012345678901}"}"#,
        r#"{"id":"b","ext":"json","state":"done","text":"{\"n\":2.5,\"t\":null,\"x\":\"y\",\"none\":null}"}"#,
    ] {
        columns.add(&row(line));
    }
    let expected = [
        ("id", Kind::Text),
        ("n", Kind::Number),
        ("t", Kind::Truth),
        ("x", Kind::Text),
        ("big", Kind::Text),
        ("none", Kind::Empty),
        ("state", Kind::Text),
    ];
    assert_eq!(columns.in_order(), expected);
    assert_eq!(plain("\"a\\\"b\"").as_deref(), Some("a\"b"));
    assert_eq!((plain("null"), plain("[1]").as_deref()), (None, Some("[1]")));
}

#[test]
fn cells_are_quoted_where_they_must_be() {
    let mut line = Vec::new();
    let cells = [Some("a"), None, Some(""), Some("b,c"), Some("d\"e"), Some("f\ng"), Some(" h")];
    super::cells::write(&mut line, cells.map(|cell| cell.map(Into::into))).unwrap();
    assert_eq!(String::from_utf8(line).unwrap(), "a,,\"\",\"b,c\",\"d\"\"e\",\"f\ng\",\" h\"\n");
}

#[test]
fn a_path_says_its_format() {
    let of = |path: &str| Format::of_path(Path::new(path));
    assert_eq!(of("x.jsonl"), Some(Format::JsonLines));
    assert_eq!(of("a/x.CSV"), Some(Format::Csv));
    assert_eq!(of("x.parquet"), Some(Format::Parquet));
    assert_eq!((of("there"), of("x.csv/"), of("x.xlsx")), (Some(Format::Files), Some(Format::Files), None));
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_has_the_values() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("x.parquet");
    let mut table = super::Table::begin(Format::Parquet, Some(&full)).unwrap();
    for line in [
        r#"{"id":"a","ext":"json","state":"done","text":"{\"n\":1,\"x\":2.5,\"l\":[1],\"t\":true}"}"#,
        r#"{"id":"b","ext":"json","state":"done","text":"{\"n\":null,\"x\":2,\"l\":\"é\"}"}"#,
        r#"{"id":"c","state":"failed"}"#,
    ] {
        table.add(line, &mut Reader::default(), &mut |_| Ok(())).unwrap();
    }
    assert_eq!(table.end(&mut |_| Ok(())).unwrap(), super::Exported { documents: 3, columns: 6 });
    let reader = SerializedFileReader::new(std::fs::File::open(&full).unwrap()).unwrap();
    let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    assert_eq!(
        rows,
        [
            "{id: \"a\", n: 1, x: 2.5, l: \"[1]\", t: true, state: \"done\"}",
            "{id: \"b\", n: null, x: 2.0, l: \"é\", t: null, state: \"done\"}",
            "{id: \"c\", n: null, x: null, l: null, t: null, state: \"failed\"}",
        ]
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
