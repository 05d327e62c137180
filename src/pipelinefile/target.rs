//! `[target.x]`: its keys, with every name resolved. What depends on the whole graph is checked in `graph`.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::DeValue;

use super::command::{self, Brace};
use super::context::Context;
use super::keys;
use super::mistake::{Mistake, Span};
use super::module::{self, Modules};
use super::section::{At, Log, Section, entries};
use super::select;
use super::settings;
use super::source::quoted;
use super::value;
use super::with::DraftWith;
use crate::model::pipeline::{
    Branch, BranchAction, Call, Hold, Module, ModuleIx, Node, Program, Settings, SplitLimits, Target,
    TargetIx, Verb,
};
use crate::model::selection::{Field, IdPart};

/// A target whose names are resolved; the numbers of targets are those of the file's order.
pub(super) struct Draft {
    pub(super) target: Target,
    /// Where its name stands.
    pub(super) span: Span,
    pub(super) streams: Vec<At<Node>>,
    pub(super) with: Vec<DraftWith>,
    /// The target that `by = "target:T"` names.
    pub(super) by_target: Option<At<TargetIx>>,
    /// Where `publish` says its template.
    pub(super) publish: Span,
    /// Where it says its listing.
    pub(super) index: Span,
    /// Everything that gives a parameter, with the place of its name.
    pub(super) params: BTreeMap<String, At<Value>>,
}

/// The share of members that must have succeeded, unless a target says otherwise.
const MIN_DONE: f64 = 0.95;

impl Context<'_> {
    /// Reads a target; what is wrong is noted, and what is right is kept.
    pub(super) fn read(&self, name: &At<&str>, section: &Section<'_>) -> Draft {
        section.allow(&[keys::TARGET, keys::SETTINGS]);
        let (verb, streams) = self.verb(name, section);
        self.check_modifiers(verb, section);
        let (by, by_target) = self.by(section);
        let with = self.with(section);
        let (call, inputs_as_files) = self.call(name, section);
        let own = settings::read(section, self.log);
        let (settings, params) = self.merged(&call, section, &own);
        for with in &with {
            if let Some(param) = params.get(&with.name.value) {
                self.log.add(
                    Mistake::at(with.name.span.clone(), format!("`{}` is named twice", with.name.value))
                        .label("a side input")
                        .also(param.span.clone(), "a parameter")
                        .help("they are arguments of one function: rename one of them"),
                );
            }
        }
        let sets = matches!(verb, Verb::All | Verb::Group);
        let publish = self.publish(section, name.value);
        let split = Self::split(section);
        let target = Target {
            name: name.value.to_owned(),
            verb,
            streams: streams.iter().map(|stream| stream.value).collect(),
            split: split.is_some(),
            split_limits: split.unwrap_or_default(),
            reduce: section.flag("reduce").is_some_and(|reduce| reduce.value),
            by,
            group_missing: section.word("missing", &["fail", "skip"]).map(|missing| missing.value),
            call,
            with: Vec::new(),
            test: section.get("where").and_then(|value| select::test(value, self.log)),
            params: BTreeMap::new(),
            sees: self.sees(section, sets),
            publish,
            ext: self.ext(section),
            hold: section.word("hold", &["code", "all"]).map(|hold| match hold.value.as_str() {
                "all" => Hold::All,
                _ => Hold::Code,
            }),
            min_done: section.read("min_done", value::share).map_or(MIN_DONE, |share| share.value),
            inputs_as_files: inputs_as_files || section.word("inputs", &["files"]).is_some(),
            default: section.flag("default").is_none_or(|default| default.value),
            settings,
        };
        let (publish, index) = match section.section_if_table("publish") {
            Some(table) => (table.value_span("path"), table.value_span("index")),
            None => (section.value_span("publish"), section.value_span("publish")),
        };
        Draft { target, span: name.span.clone(), streams, with, by_target, publish, index, params }
    }

    fn verb(&self, name: &At<&str>, section: &Section<'_>) -> (Verb, Vec<At<Node>>) {
        let verbs = [("each", Verb::Each), ("all", Verb::All), ("group", Verb::Group)];
        let mut stated: Vec<(&str, Verb)> = verbs.into_iter().filter(|(key, _)| section.has(key)).collect();
        stated.sort_by_key(|(key, _)| section.key_span(key).start);
        let Some((key, verb)) = stated.first().copied() else {
            self.log.add(
                Mistake::at(name.span.clone(), format!("target `{}` does not say what it takes", name.value))
                    .help("each = \"STREAM\": one result for each document")
                    .help("all = \"STREAM\": one result over all documents"),
            );
            return (Verb::Each, Vec::new());
        };
        if let Some((second, _)) = stated.get(1) {
            self.log.add(
                Mistake::at(section.key_span(second), format!("target `{}` has two verbs", name.value))
                    .label(format!("`{second}`"))
                    .also(section.key_span(key), format!("and `{key}`"))
                    .help("a target has one of `each`, `all` and `group`; make two targets of it"),
            );
        }
        let mut streams: Vec<At<Node>> = Vec::new();
        for written in section.texts(key).unwrap_or_default() {
            let Some(node) = self.names.stream(&written, self.modules, self.log) else { continue };
            if streams.iter().any(|other| other.value == node) {
                self.log.add(Mistake::at(written.span, format!("`{}` is named twice", written.value)));
            } else {
                streams.push(At { value: node, span: written.span });
            }
        }
        (verb, streams)
    }

    fn check_modifiers(&self, verb: Verb, section: &Section<'_>) {
        let fits: [(&str, &[Verb], &str); 7] = [
            ("split", &[Verb::Each], "`each`: it makes children of one document"),
            ("route", &[Verb::Each], "`each`: it chooses a module for each document"),
            ("reduce", &[Verb::All], "`all`: it merges results of its own kind"),
            ("by", &[Verb::Group], "`group`: it says what a group is made by"),
            ("missing", &[Verb::Group], "`group`; a side input has a `missing` of its own"),
            ("min_done", &[Verb::All, Verb::Group], "`all` and `group`"),
            ("inputs", &[Verb::All, Verb::Group], "`all` and `group`"),
        ];
        for (key, verbs, home) in fits {
            if section.has(key) && !verbs.contains(&verb) {
                let mistake = Mistake::at(section.key_span(key), format!("`{key}` goes with {home}"));
                self.log.add(mistake);
            }
        }
        if verb == Verb::Group && !section.has("by") {
            self.log.add(Mistake::at(section.key_span("group"), "`group` without `by`").help(
                "say what a group is made by: by = \"meta.thread\", \"id.dir\", \"parent\" or \"target:T\"",
            ));
        }
        for key in ["version", "code", "probe"] {
            if section.has(key) && !section.has("cmd") && !section.has("shell") {
                self.log.add(
                    Mistake::at(section.key_span(key), format!("`{key}` belongs to `[module.NAME]`"))
                        .help("a target has it only beside a `cmd` or `shell` of its own"),
                );
            }
        }
    }

    fn by(&self, section: &Section<'_>) -> (Option<String>, Option<At<TargetIx>>) {
        let Some(by) = section.text("by") else { return (None, None) };
        if let Some(name) = by.value.strip_prefix("target:") {
            let written = At { value: name.to_owned(), span: by.span.clone() };
            let target = self.names.target(&written, "target:", self.log);
            return (Some(by.value), target.map(|value| At { value, span: by.span }));
        }
        let fits = matches!(Field::parse(&by.value), Some(Field::Meta(_) | Field::Id(_)));
        if by.value != "parent" && !fits {
            self.log
                .add(Mistake::at(by.span, format!("`by` cannot be `{}`", by.value)).help(
                    "it is a field such as \"meta.thread\" or \"id.dir\", \"parent\", or \"target:T\"",
                ));
        }
        (Some(by.value), None)
    }

    fn call(&self, name: &At<&str>, section: &Section<'_>) -> (Call, bool) {
        let mut ways = ["module", "route", "cmd", "shell"].map(|key| (key, section.has(key)));
        ways.sort_by_key(|(key, _)| section.key_span(key).start);
        let ways: Vec<&str> = ways.into_iter().filter(|(_, has)| *has).map(|(key, _)| key).collect();
        // A mistake stands beside each empty route, so that no pipeline comes of it.
        let nothing = || (Call::Route(Vec::new()), false);
        if let [first, second, ..] = ways.as_slice() {
            self.log.add(
                Mistake::at(
                    section.key_span(second),
                    format!("target `{}` says twice what it runs", name.value),
                )
                .label(format!("`{second}`"))
                .also(section.key_span(first), format!("and `{first}`"))
                .help("leave one of them out"),
            );
            return nothing();
        }
        match ways.first() {
            None => {
                self.log.add(
                    Mistake::at(
                        name.span.clone(),
                        format!("target `{}` does not say what it runs", name.value),
                    )
                    .help("module = \"NAME\": a function in modules/NAME.py")
                    .help("shell = \"sort {in} > {out}\": a command"),
                );
                nothing()
            }
            Some(&"module") => {
                let Some(written) = section.text("module") else { return nothing() };
                let files = self.modules.table(&written.value).is_some_and(|table| table.inputs_as_files);
                self.modules.resolve(&written).map_or_else(nothing, |ix| (Call::Module(ix), files))
            }
            Some(&"route") => (Call::Route(self.route(section)), false),
            Some(_) => {
                let about = module::about(self.text, section, self.log);
                let made = self.modules.anonymous(name.value, about);
                made.map_or_else(nothing, |ix| (Call::Module(ix), false))
            }
        }
    }

    fn route(&self, section: &Section<'_>) -> Vec<Branch> {
        let wanted = "a list of tables, as in [{ where = {…}, module = \"ocr\" }, { module = \"text\" }]";
        let Some(value) = section.get("route") else { return Vec::new() };
        let Some(items) = value.get_ref().as_array().filter(|items| !items.is_empty()) else {
            section.wrong("route", value, wanted);
            return Vec::new();
        };
        let mut branches = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                section.wrong("route", item, "a list of tables");
                continue;
            };
            let name = format!("a branch of `route` in {}", section.name);
            let branch = Section::new(name, item.span(), table, self.log);
            branch.allow(&[keys::BRANCH]);
            let last = i + 1 == items.len();
            if last && branch.has("where") {
                self.log.add(
                    Mistake::at(branch.key_span("where"), "the last branch of `route` must take every document")
                        .help("end with { module = \"NAME\" }, { do = \"pass\" }, { do = \"skip\" } or { do = \"fail\" }"),
                );
            } else if !last && !branch.has("where") {
                self.log.add(
                    Mistake::at(item.span(), "this branch takes every document: those below it never match")
                        .help("give it a `where`, or put it last"),
                );
            }
            let test = branch.get("where").and_then(|value| select::test(value, self.log));
            if let Some(action) = self.branch_action(&branch) {
                if action == BranchAction::Pass && section.flag("split").is_some_and(|split| split.value) {
                    self.log.add(
                        Mistake::at(branch.key_span("do"), "a document that is passed on has no children")
                            .help("with `split = true` a branch names a module, or is `skip` or `fail`"),
                    );
                }
                branches.push(Branch { test, action });
            }
        }
        branches
    }

    fn branch_action(&self, branch: &Section<'_>) -> Option<BranchAction> {
        match (branch.has("module"), branch.has("do")) {
            (true, false) => Some(BranchAction::Module(self.modules.resolve(&branch.text("module")?)?)),
            (false, true) => match branch.word("do", &["skip", "fail", "pass"])?.value.as_str() {
                "skip" => Some(BranchAction::Skip),
                "fail" => Some(BranchAction::Fail),
                _ => Some(BranchAction::Pass),
            },
            (both, _) => {
                let what = if both { "both `module` and `do`" } else { "neither `module` nor `do`" };
                self.log.add(Mistake::at(branch.span.clone(), format!("a branch of `route` has {what}")));
                None
            }
        }
    }

    /// The module's settings and params with the target's own on top.
    fn merged(
        &self,
        call: &Call,
        section: &Section<'_>,
        own: &Settings,
    ) -> (Settings, BTreeMap<String, At<Value>>) {
        let (mut params, mut below) = (BTreeMap::new(), Settings::default());
        if let Call::Module(ix) = call {
            // What the module has anyway: of its table, and what its author says.
            let module = self.modules.get(*ix);
            let span = section.value_span("module");
            let said = module.params.into_iter();
            params.extend(said.map(|(name, value)| (name, At { value, span: span.clone() })));
            below = module.settings;
            let table = section.get("module").and_then(|name| self.modules.table(name.get_ref().as_str()?));
            params.extend(table.map(|table| table.params.clone()).unwrap_or_default());
        }
        params.extend(section.json_table("params"));
        for (name, param) in &params {
            if !value::is_identifier(name) {
                self.log.add(
                    Mistake::at(param.span.clone(), format!("`{name}` is no name for a parameter"))
                        .help("parameters are keyword arguments: letters, digits and `_`"),
                );
            }
        }
        (own.over(&below), params)
    }

    /// `split = true`, or a table with limits.
    fn split(section: &Section<'_>) -> Option<SplitLimits> {
        let default = SplitLimits::default();
        let Some(table) = section.section_if_table("split") else {
            return section.flag("split").filter(|split| split.value).map(|_| default);
        };
        table.allow(&[&["max", "max_size", "max_total"]]);
        Some(SplitLimits {
            count: table.count("max", 1).unwrap_or(default.count),
            size: table.read("max_size", value::size).map_or(default.size, |size| size.value),
            total: table.read("max_total", value::size).map_or(default.total, |size| size.value),
        })
    }

    /// Sorted, so that the order in the file changes no key.
    fn sees(&self, section: &Section<'_>, sets: bool) -> Vec<Field> {
        let default = || if sets { vec![Field::Id(IdPart::Whole), Field::Ext] } else { vec![Field::Ext] };
        let Some(value) = section.get("sees") else { return default() };
        if value.get_ref().as_array().is_some_and(|fields| fields.is_empty()) {
            return Vec::new();
        }
        let written = section.texts("sees").unwrap_or_default();
        let mut fields: Vec<Field> = written
            .iter()
            .filter_map(|written| select::field(written, select::ALL_FIELDS, self.log))
            .collect();
        fields.sort();
        fields.dedup();
        fields
    }

    fn ext(&self, section: &Section<'_>) -> Option<String> {
        let ext = section.text("ext")?;
        let bare = ext.value.trim_start_matches('.');
        let fine = !bare.is_empty()
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !fine || bare.len() != ext.value.len() {
            let mistake = Mistake::at(ext.span.clone(), format!("`{}` is no extension", ext.value));
            self.log.add(if fine {
                mistake.fix("write it without its dot", ext.span, quoted(bare))
            } else {
                mistake.help("an extension is letters and digits, as in ext = \"html\"")
            });
        }
        Some(bare.to_owned())
    }
}

impl Draft {
    fn log_split(&self, log: &Log) {
        let message = format!("the command of target `{}` makes no folder", self.target.name);
        log.add(
            Mistake::at(self.span.clone(), message)
                .help("each file in the folder {out}/ is a child, as in: unzip {in} -d {out}/"),
        );
    }

    /// Checks what a filter asks for against what the target gives it.
    pub(super) fn check_filter(&self, modules: &Modules<'_>, log: &Log) {
        let modules_of: Vec<ModuleIx> = match &self.target.call {
            Call::Module(ix) => vec![*ix],
            Call::Route(branches) => {
                let called = |branch: &Branch| match branch.action {
                    BranchAction::Module(ix) => Some(ix),
                    _ => None,
                };
                branches.iter().filter_map(called).collect()
            }
        };
        let in_route = matches!(self.target.call, Call::Route(_));
        for module in modules_of.into_iter().map(|ix| modules.get(ix)) {
            if module.program.is_filter() {
                if self.target.settings.batch.or(module.settings.batch).is_some_and(|batch| batch > 1) {
                    log.add(
                        Mistake::at(
                            self.span.clone(),
                            "a filter takes one document a process: it has no `batch`",
                        )
                        .help("leave it out, or write a worker"),
                    );
                }
                self.check_braces(&module, in_route, log);
            }
            if matches!(module.program, Program::Url(_)) && self.target.inputs_as_files {
                let message = format!("`{}` runs on a server, which gets no files", module.name);
                let mistake = Mistake::at(self.span.clone(), message).label("`inputs = \"files\"`");
                log.add(mistake.help("leave `inputs` out: its manifest holds the contents"));
            }
        }
    }

    fn check_braces(&self, module: &Module, in_route: bool, log: &Log) {
        let braces = command::braces_of(&module.program);
        let name = &self.target.name;
        let has_param =
            |param: &str| self.params.contains_key(param) || (in_route && module.params.contains_key(param));
        if self.target.split && !braces.contains(&Brace::OutFolder) {
            self.log_split(log);
        }
        for brace in &braces {
            match brace {
                Brace::Param(param) if !has_param(param) => log.add(
                    Mistake::at(
                        self.span.clone(),
                        format!("target `{name}` gives no value for {{param.{param}}}"),
                    )
                    .help(format!("params = {{ {param} = … }}")),
                ),
                Brace::With(role) if !self.with.iter().any(|with| with.name.value == *role) => log.add(
                    Mistake::at(
                        self.span.clone(),
                        format!("target `{name}` has no side input for {{with.{role}}}"),
                    )
                    .help(format!("with = {{ {role} = \"TARGET\" }} or \"file:PATH\"")),
                ),
                _ => {}
            }
        }
        if in_route {
            // What one of the modules does not use, another may.
            return;
        }
        for (param, at) in &self.params {
            if !braces.contains(&Brace::Param(param.clone())) {
                let kind = if matches!(module.program.inside(), Program::Shell(_)) { "shell" } else { "cmd" };
                log.add(
                    Mistake::at(at.span.clone(), format!("the command does not use parameter `{param}`"))
                        .help(format!("say {{param.{param}}} in `{kind}`, or leave it out")),
                );
            }
        }
        for with in &self.with {
            if !braces.contains(&Brace::With(with.name.value.clone())) {
                log.add(
                    Mistake::at(
                        with.name.span.clone(),
                        format!("the command does not use side input `{}`", with.name.value),
                    )
                    .help(format!("say {{with.{}}} in it, or leave it out", with.name.value)),
                );
            }
        }
    }
}

/// The tables of `[target.x]`, `[source.x]` or `[module.x]` in the order of the file.
pub(super) fn tables<'a>(
    kind: &str,
    value: &'a toml::Spanned<DeValue<'a>>,
    log: &'a Log,
) -> Vec<(At<&'a str>, Section<'a>)> {
    let Some(table) = value.get_ref().as_table() else {
        log.add(
            Mistake::at(value.span(), format!("a {kind} is a table with a name"))
                .help(format!("write [{kind}.NAME]")),
        );
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries(table) {
        match entry.value.get_ref().as_table() {
            Some(below) => {
                let section =
                    Section::new(format!("[{kind}.{}]", entry.key.value), entry.key.span.clone(), below, log);
                found.push((entry.key, section));
            }
            None => log.add(
                Mistake::at(entry.key.span.clone(), format!("`{}` stands in no {kind}", entry.key.value))
                    .help(format!("a {kind} has a name of its own: [{kind}.NAME]")),
            ),
        }
    }
    found
}
