//! Pipelines written by hand, and the families and strata that come of them.

use super::*;
use crate::model::pipeline::{Call, Missing, ModuleIx, Settings, Source, SplitLimits, Target, With};

/// A pipeline written down by hand: every target comes after what it names.
struct Draft(Pipeline);

impl Draft {
    fn new(sources: &[&str]) -> Self {
        let source = |name: &&str| Source {
            name: (*name).into(),
            paths: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            rows: None,
            project: None,
        };
        let sources = sources.iter().map(source).collect();
        Draft(Pipeline {
            root: "/project".into(),
            file: "/project/Pipelinefile".into(),
            sources,
            targets: Vec::new(),
            modules: Vec::new(),
            log_to: Vec::new(),
            notify: None,
        })
    }

    fn node(&self, name: &str) -> Node {
        let source = self.0.find_source(name).map(Node::Source);
        source.or_else(|| self.0.find_target(name).map(Node::Target)).expect("it was named before")
    }

    fn target(mut self, verb: Verb, name: &str, streams: &[&str]) -> Self {
        let streams = streams.iter().map(|name| self.node(name)).collect();
        self.0.targets.push(Target {
            name: name.into(),
            verb,
            streams,
            split: false,
            split_limits: SplitLimits::default(),
            reduce: false,
            by: None,
            group_missing: None,
            call: Call::Module(ModuleIx(0)),
            with: Vec::new(),
            test: None,
            params: std::collections::BTreeMap::new(),
            sees: Vec::new(),
            publish: None,
            ext: None,
            hold: None,
            min_done: 0.95,
            inputs_as_files: false,
            default: true,
            settings: Settings::default(),
        });
        self
    }

    fn each(self, name: &str, streams: &[&str]) -> Self {
        self.target(Verb::Each, name, streams)
    }

    fn all(self, name: &str, streams: &[&str]) -> Self {
        self.target(Verb::All, name, streams)
    }

    /// A side input of the target named last.
    fn with(mut self, from: impl FnOnce(&Self) -> WithFrom) -> Self {
        let from = from(&self);
        let target = self.0.targets.last_mut().unwrap();
        let name = format!("with{}", target.with.len());
        target.with.push(With {
            name,
            from,
            missing: Missing::Fail,
            on: None,
            many: false,
            inherited: false,
        });
        self
    }

    fn by_id(self, name: &str) -> Self {
        self.with(|draft| WithFrom::Document(draft.node(name)))
    }

    fn shared(self, name: &str) -> Self {
        self.with(|draft| WithFrom::Shared(draft.0.find_target(name).unwrap()))
    }

    /// The families of these targets and of all that they need; none named: of all.
    fn families(&self, names: &[&str]) -> Families {
        let chosen = names.iter().map(|name| self.0.find_target(name).unwrap());
        let wanted = match names {
            [] => (0..self.0.targets.len()).map(TargetIx).collect(),
            _ => Families::closure(&self.0, chosen),
        };
        Families::new(&self.0, &wanted)
    }

    /// The steps of a family as text: `name(what it takes; with) @stratum`.
    fn steps(&self, families: &Families, family: &str) -> Vec<String> {
        let family = families.family(families.find(family).expect("there is such a family"));
        let place = |input: &Input| match input {
            Input::Origin => "origin".to_owned(),
            Input::Step(step) => self.0.target(family.steps[*step].target).name.clone(),
        };
        let step = |step: &Step| {
            let inputs: Vec<String> = step.inputs.iter().map(place).collect();
            let with = step.with.iter().map(|(number, input)| format!("; {number}={}", place(input)));
            let with = with.collect::<Vec<_>>().concat();
            let name = &self.0.target(step.target).name;
            format!("{name}({}{with}) @{}", inputs.join(" "), step.stratum)
        };
        family.steps.iter().map(step).collect()
    }
}

fn names(families: &Families) -> Vec<&str> {
    families.list.iter().map(|family| family.name.as_str()).collect()
}

#[test]
fn a_chain_is_one_family_in_one_stratum() {
    let draft = Draft::new(&["docs"]).each("text", &["docs"]).each("words", &["text"]);
    let families = draft.families(&[]);
    assert_eq!(names(&families), ["docs"]);
    assert_eq!(draft.steps(&families, "docs"), ["text(origin) @0", "words(text) @0"]);
    assert_eq!(families.stratum_count(), 1);
}

#[test]
fn every_source_is_a_family_of_its_own() {
    let draft = Draft::new(&["pdf", "html", "unused"])
        .each("ocr", &["pdf"])
        .each("clean", &["ocr", "html"])
        .each("words", &["clean"]);
    let families = draft.families(&[]);
    assert_eq!(names(&families), ["pdf", "html", "unused"]);
    assert_eq!(draft.steps(&families, "pdf"), ["ocr(origin) @0", "clean(ocr) @0", "words(clean) @0"]);
    assert_eq!(draft.steps(&families, "html"), ["clean(origin) @0", "words(clean) @0"]);
    assert_eq!(draft.steps(&families, "unused"), [""; 0]);
}

#[test]
fn a_union_within_one_family_takes_from_several_steps() {
    let draft = Draft::new(&["docs"])
        .each("long", &["docs"])
        .each("short", &["docs"])
        .each("both", &["long", "short"]);
    let families = draft.families(&[]);
    assert_eq!(draft.steps(&families, "docs")[2], "both(long short) @0");
}

/// The classic: a model is trained over all, then used on each.
fn model() -> Draft {
    Draft::new(&["docs"])
        .each("clean", &["docs"])
        .all("model", &["clean"])
        .each("label", &["clean"])
        .shared("model")
        .all("report", &["label"])
}

#[test]
fn what_uses_a_set_waits_for_it() {
    let draft = model();
    let families = draft.families(&[]);
    assert_eq!(names(&families), ["docs", "model", "report"]);
    assert_eq!(draft.steps(&families, "docs"), ["clean(origin) @0", "label(clean) @2"]);
    assert_eq!(draft.steps(&families, "model"), ["model(origin) @1"]);
    assert_eq!(draft.steps(&families, "report"), ["report(origin) @3"]);
    assert_eq!(families.strata, [0, 1, 2, 3]);
    assert_eq!(families.stratum_count(), 4);
    let docs = families.family(FamilyIx(0));
    let strata: Vec<bool> = (0..4).map(|stratum| docs.has_stratum(stratum)).collect();
    assert_eq!(strata, [true, false, true, false]);
    assert!(!docs.is_set());
    assert!(families.family(FamilyIx(1)).is_set());
}

#[test]
fn what_stands_behind_a_set_goes_with_it() {
    let draft = Draft::new(&["docs"])
        .each("text", &["docs"])
        .all("book", &["text"])
        .each("print", &["book"])
        .all("shelf", &["print"]);
    let families = draft.families(&[]);
    assert_eq!(names(&families), ["docs", "book", "shelf"]);
    assert_eq!(draft.steps(&families, "docs"), ["text(origin) @0"]);
    assert_eq!(draft.steps(&families, "book"), ["book(origin) @1", "print(book) @1"]);
    assert_eq!(draft.steps(&families, "shelf"), ["shelf(origin) @2"]);
}

#[test]
fn a_union_of_documents_and_a_set_waits_for_the_set() {
    let draft = Draft::new(&["docs"]).all("book", &["docs"]).each("print", &["docs", "book"]);
    let families = draft.families(&[]);
    assert_eq!(draft.steps(&families, "docs"), ["print(origin) @1"]);
    assert_eq!(draft.steps(&families, "book"), ["book(origin) @1", "print(book) @1"]);
}

#[test]
fn a_side_input_of_the_same_document_is_a_step_of_its_family() {
    let draft = Draft::new(&["docs", "more"])
        .each("text", &["docs", "more"])
        .each("meta", &["docs"])
        .each("page", &["text"])
        .by_id("meta")
        .by_id("docs");
    let families = draft.families(&[]);
    assert_eq!(draft.steps(&families, "docs")[2], "page(text; 0=meta; 1=origin) @0");
    assert_eq!(draft.steps(&families, "more")[1], "page(text) @0", "this one never has any");
}

#[test]
fn a_side_input_that_waits_makes_its_target_wait() {
    let draft = model().each("page", &["clean"]).by_id("label");
    let families = draft.families(&[]);
    assert_eq!(draft.steps(&families, "docs")[2], "page(clean; 0=label) @2");
}

#[test]
fn a_side_input_by_value_waits_for_the_whole_other_stream() {
    let draft = Draft::new(&["docs", "people"])
        .each("person", &["people"])
        .each("join", &["docs"])
        .with(|draft| WithFrom::Value(draft.node("person")))
        .each("plain", &["docs"])
        .with(|_| WithFrom::File("stop.txt".into(), "/project/stop.txt".into()));
    let families = draft.families(&[]);
    assert_eq!(draft.steps(&families, "docs"), ["join(origin) @1", "plain(origin) @0"]);
}

#[test]
fn the_closure_of_a_target_is_all_that_it_needs() {
    let draft = model().each("other", &["clean"]);
    let closure = |name: &str| {
        let all = Families::closure(&draft.0, draft.0.find_target(name));
        all.into_iter().map(|ix| draft.0.target(ix).name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(closure("clean"), ["clean"]);
    assert_eq!(closure("label"), ["clean", "model", "label"], "side inputs too");
    assert_eq!(closure("report"), ["clean", "model", "label", "report"]);
    assert_eq!(closure("other"), ["clean", "other"]);
}

#[test]
fn a_part_of_a_pipeline_has_only_the_families_and_steps_of_that_part() {
    let draft = model().each("other", &["clean"]);
    let families = draft.families(&["other"]);
    assert_eq!(names(&families), ["docs"]);
    assert_eq!(draft.steps(&families, "docs"), ["clean(origin) @0", "other(clean) @0"]);
    assert_eq!(families.stratum_count(), 1);

    let families = draft.families(&["label"]);
    assert_eq!(names(&families), ["docs", "model"]);
    assert_eq!(draft.steps(&families, "docs"), ["clean(origin) @0", "label(clean) @2"]);
    assert_eq!(families.stratum_count(), 3, "strata keep their numbers");
}

#[test]
fn a_stream_knows_the_families_that_come_to_it() {
    let draft = Draft::new(&["docs", "more"])
        .all("book", &["docs"])
        .each("text", &["docs", "more", "book"])
        .all("shelf", &["text"]);
    let families = draft.families(&[]);
    let of = |name: &str| {
        let stream = families.of_stream(draft.node(name));
        stream.into_iter().map(|(ix, place)| (families.family(ix).name.as_str(), place)).collect::<Vec<_>>()
    };
    assert_eq!(of("docs"), [("docs", Input::Origin)]);
    assert_eq!(of("book"), [("book", Input::Step(0))]);
    assert_eq!(of("text"), [("docs", Input::Step(0)), ("more", Input::Step(0)), ("book", Input::Step(1))]);
    assert_eq!(of("shelf"), [("shelf", Input::Step(0))]);
}

#[test]
fn a_pipeline_without_targets_has_one_stratum_in_which_nothing_is_decided() {
    let families = Draft::new(&["docs"]).families(&[]);
    assert_eq!(names(&families), ["docs"]);
    assert_eq!(families.stratum_count(), 1);
    assert_eq!(families.find("elsewhere"), None);
}
