//! A foreign key is the database's own idea of what a deletion may leave behind; it must neither stop us halfway nor delete what was declared to stay.
//!
//! Before a parent row goes, a row that stays (`null`, `hash`, `keep`) has its reference emptied. Where that cannot be
//! done, or where a cascade would take rows that are not the person's or of which nothing is declared, nothing is deleted
//! at all.

use super::Context;
use super::desk::Reads;
use super::dialect::Dialect;
use super::erase::{by_chunks, count};
use super::find::{CHUNK, Found, place};
use super::lookup::Lookup;
use super::schema::{ForeignKey, Rule};
use super::session::Session;
use super::trouble::denied;
use crate::Trouble;
use crate::spec::OnDelete;
use std::collections::{BTreeMap, BTreeSet};

/// In which order rows go, and which references are emptied before.
pub(super) struct Plan {
    /// Tables that delete, the referring before the referred.
    pub(super) order: Vec<usize>,
    severs: Vec<Sever>,
    /// Whether foreign keys can only hold once everything is deleted.
    defer: bool,
}

struct Sever {
    table: usize,
    column: String,
    keys: BTreeSet<String>,
}

impl Plan {
    /// The plan for all of them at once.
    pub(super) fn all<'a>(context: &Context<'_>, plans: impl Iterator<Item = &'a Plan>) -> Plan {
        let mut going: BTreeSet<usize> = BTreeSet::new();
        let mut severs: BTreeMap<(usize, &str), BTreeSet<String>> = BTreeMap::new();
        let mut defer = false;
        for plan in plans {
            going.extend(&plan.order);
            for sever in &plan.severs {
                severs.entry((sever.table, &sever.column)).or_default().extend(sever.keys.iter().cloned());
            }
            defer |= plan.defer;
        }
        let (order, _) = order(context, &|t| going.contains(&t));
        let severs = severs.into_iter().map(|((table, column), keys)| Sever { table, column: column.to_owned(), keys });
        Plan { order, severs: severs.collect(), defer }
    }

    /// The rows (table, key) whose references are emptied.
    pub(super) fn severed(&self) -> impl Iterator<Item = (usize, &String)> {
        self.severs.iter().flat_map(|sever| sever.keys.iter().map(|key| (sever.table, key)))
    }
}

/// Plans the deletion of the found rows; changes nothing.
pub(super) async fn plan(context: &Context<'_>, reads: &mut Reads<'_>, found: &Found) -> Result<Plan, Trouble> {
    let tables = &context.engine.declared.tables;
    let going = |t: usize| tables[t].on_delete == OnDelete::Delete && !found.rows[t].is_empty();
    let (order, in_cycles) = order(context, &going);
    let mut plan = Plan { order, severs: Vec::new(), defer: false };
    for (k, key) in context.schema.foreign_keys.iter().enumerate() {
        if !going(key.parent) {
            continue;
        }
        reads.at((place::FOREIGN, k, 0));
        let Some(child) = key.child else {
            refuse_undeclared(context, reads, k, found).await?;
            continue;
        };
        if tables[child].on_delete == OnDelete::Delete {
            let circular = child == key.parent || (in_cycles.contains(&child) && in_cycles.contains(&key.parent));
            if circular && going(child) {
                match nullable(context, child, key) {
                    Some(column) => plan.severs.push(Sever { table: child, column, keys: found.keys(child) }),
                    None => plan.defer = true,
                }
            }
            if key.rule == Rule::Cascade {
                let referring = referring(context, reads, k, found).await?;
                refuse_strangers(context, child, key, &referring, found)?;
            }
        } else if matches!(key.rule, Rule::Refuse | Rule::Cascade) {
            let referring = referring(context, reads, k, found).await?;
            if referring.is_empty() {
                continue;
            }
            refuse_strangers(context, child, key, &referring, found)?;
            let Some(column) = nullable(context, child, key) else {
                return Err(denied(
                    "foreign_key_blocks",
                    format!(
                        "rows of table {} stay (on_delete = \"{}\"), but their column {} refers to rows of {} that are to be deleted and is NOT NULL; \
                         allow NULL there, or give one of the two tables another on_delete",
                        tables[child].name,
                        tables[child].action(),
                        key.columns.join(", "),
                        tables[key.parent].name
                    ),
                ));
            };
            plan.severs.push(Sever { table: child, column, keys: referring });
        }
    }
    Ok(plan)
}

/// Empties the references that stand in the way.
pub(super) async fn sever(context: &Context<'_>, session: &mut Session, plan: &Plan) -> Result<(), Trouble> {
    if plan.defer {
        let statement = match context.dialect {
            Dialect::Postgres => Some("SET CONSTRAINTS ALL DEFERRED"),
            Dialect::Sqlite => Some("PRAGMA defer_foreign_keys = ON"),
            Dialect::Mysql => None,
        };
        if let Some(statement) = statement {
            session.run("constraints", statement.to_owned(), Vec::new()).await?;
        }
    }
    for sever in &plan.severs {
        let column = context.dialect.ident(&sever.column);
        let sql = format!(
            "UPDATE {} SET {column} = NULL WHERE {column} IS NOT NULL AND",
            context.schema.tables[sever.table].sql
        );
        by_chunks(context, session, sever.table, &sever.keys, &sql).await?;
    }
    Ok(())
}

/// Refuses, before the commit, a deletion that took rows with it that were declared to stay: by a trigger, or by a cascade
/// that the database did not show us.
pub(super) async fn nothing_else_went(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    found: &Found,
) -> Result<(), Trouble> {
    for (t, table) in context.engine.declared.tables.iter().enumerate() {
        if table.on_delete == OnDelete::Delete || found.rows[t].is_empty() {
            continue;
        }
        reads.at((place::STATE, 0, t));
        if count(context, reads, t, found).await? < found.rows[t].len() as u64 {
            return Err(denied(
                "foreign_key_blocks",
                format!(
                    "deleting took rows of table {} with it, which are declared to stay (on_delete = \"{}\"), by a cascade or a trigger; \
                     nothing was changed; declare the table in between, or change the rule",
                    table.name,
                    table.action()
                ),
            ));
        }
    }
    Ok(())
}

/// Tables that delete, children first, and those among them that refer to each other in a circle.
fn order(context: &Context<'_>, going: &dyn Fn(usize) -> bool) -> (Vec<usize>, BTreeSet<usize>) {
    let mut left: Vec<usize> = (0..context.engine.declared.tables.len()).filter(|&t| going(t)).collect();
    // The last declared first: people declare a person before what belongs to them.
    left.reverse();
    let mut edges: Vec<(usize, usize)> =
        context.schema.foreign_keys.iter().filter_map(|key| Some((key.child?, key.parent))).collect();
    edges.retain(|(child, parent)| child != parent);
    let (mut order, mut circular) = (Vec::new(), BTreeSet::new());
    while !left.is_empty() {
        let free = left.iter().position(|t| !edges.iter().any(|(child, parent)| parent == t && left.contains(child)));
        if free.is_none() {
            circular.extend(left.iter().copied());
        }
        order.push(left.remove(free.unwrap_or(0)));
    }
    (order, circular)
}

/// The column of the key that can be emptied.
fn nullable(context: &Context<'_>, child: usize, key: &ForeignKey) -> Option<String> {
    let live = &context.schema.tables[child];
    key.columns.iter().find_map(|name| {
        let column = live.columns.iter().find(|c| context.dialect.same_name(&c.name, name))?;
        // The row's own key must stay, whatever SQLite says of a key that may be NULL.
        (column.nullable && column.name != live.key.name).then(|| column.name.clone())
    })
}

/// Keys of the rows that refer by this foreign key to rows that are going.
async fn referring(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    key: usize,
    found: &Found,
) -> Result<BTreeSet<String>, Trouble> {
    let mut keys = BTreeSet::new();
    for chunk in going(context, key, found).chunks(CHUNK) {
        let rows = reads.rows(context, Lookup::Referring(key, chunk.to_vec())).await?;
        keys.extend(rows.into_iter().filter_map(|row| row.into_iter().next()?));
    }
    Ok(keys)
}

/// Keys of the rows that are going from the table that this foreign key refers to.
fn going(context: &Context<'_>, key: usize, found: &Found) -> Vec<String> {
    found.rows[context.schema.foreign_keys[key].parent].keys().cloned().collect()
}

/// Rows of a table that is not declared must not go, or be given to somebody else, with nobody the wiser: what refers
/// to them in turn would go too, whatever was declared for it.
async fn refuse_undeclared(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    k: usize,
    found: &Found,
) -> Result<(), Trouble> {
    let key = &context.schema.foreign_keys[k];
    let happens = match key.rule {
        Rule::Cascade => "would be deleted with them",
        Rule::SetDefault => "would be given to another row",
        Rule::Refuse | Rule::SetNull => return Ok(()),
    };
    let parent = &context.engine.declared.tables[key.parent].name;
    let blocked = |rows: &str| {
        denied(
            "foreign_key_blocks",
            format!(
                "{rows} of table {child}, which is not declared, refer by {columns} to rows of {parent} that are to be deleted and {happens} \
                 (foreign key {name}, ON DELETE {rule}); nothing was changed; declare {child} with references and on_delete \
                 (\"delete\", \"null\", \"hash\" or \"keep\")",
                child = key.child_name,
                columns = key.columns.join(", "),
                name = key.name,
                rule = key.rule.words()
            ),
        )
    };
    let mut rows = 0;
    for chunk in going(context, k, found).chunks(CHUNK) {
        let counts =
            reads.rows(context, Lookup::Counted(k, chunk.to_vec())).await.map_err(|trouble| match trouble {
                // A cascade needs no privilege on the table, but who may not look cannot tell that it is empty.
                Trouble::Denied(problem) if problem.code == "permission_missing" => {
                    blocked("rows that we may not read")
                }
                other => other,
            })?;
        rows += counts.iter().flatten().flatten().filter_map(|count| count.parse::<u64>().ok()).sum::<u64>();
    }
    if rows == 0 { Ok(()) } else { Err(blocked(&format!("{rows} rows"))) }
}

/// Rows that refer to the person's but were not reached by the declared references are not the person's to change.
fn refuse_strangers(
    context: &Context<'_>,
    child: usize,
    key: &ForeignKey,
    referring: &BTreeSet<String>,
    found: &Found,
) -> Result<(), Trouble> {
    if referring.iter().all(|row| found.rows[child].contains_key(row)) {
        return Ok(());
    }
    let tables = &context.engine.declared.tables;
    Err(denied(
        "foreign_key_blocks",
        format!(
            "rows of table {} refer to rows of {} that are to be deleted by the column {}, which is not declared in its references \
             (foreign key {}, ON DELETE {}); declare the reference, or change the key's rule",
            tables[child].name,
            tables[key.parent].name,
            key.columns.join(", "),
            key.name,
            key.rule.words()
        ),
    ))
}
