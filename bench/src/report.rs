//! The table: what was measured beside what it may cost and what lakeFS needs.

use serde_json::{Value, json};

use crate::load::Cost;

/// A row of the speed budget. Milliseconds of server CPU for one operation.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// NaN: not measured.
    pub(crate) lakefs_ms: f64,
    pub(crate) budget_ms: f64,
}

/// Resident memory a server may reach in any row, in MiB.
pub(crate) const MEMORY_BUDGET_MIB: f64 = 200.0;

pub(crate) struct Report {
    json: bool,
    rows: Vec<Value>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        if !json {
            println!(
                "{:<42} {:>9} {:>9} {:>9} | {:>10} {:>10} {:>9} {:>9} | {:>7}",
                "operation",
                "rate/s",
                "p50 ms",
                "p99 ms",
                "CPU ms/op",
                "(answered)",
                "budget",
                "lakeFS",
                "MiB"
            );
        }
        Self { json, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row, cost: &Cost) {
        let answered = cost.cpu_answered * 1e3 / cost.operations as f64;
        let (p50, p99) = (cost.percentile_ms(50), cost.percentile_ms(99));
        if !self.json {
            let lakefs = if row.lakefs_ms.is_nan() { "-".to_owned() } else { row.lakefs_ms.to_string() };
            let over = if cost.cpu_ms() > row.budget_ms { "!" } else { " " };
            println!(
                "{:<42} {:>9.1} {p50:>9.2} {p99:>9.2} | {:>9.3}{over} {answered:>10.3} {:>9} {lakefs:>9} | {:>7.0}",
                row.name,
                cost.rate(),
                cost.cpu_ms(),
                row.budget_ms,
                cost.peak_mib
            );
            if cost.answered_by.len() > 1 {
                println!(
                    "    answered by each server: {:?}, fairness {:.2}",
                    cost.answered_by,
                    cost.fairness()
                );
            }
        }
        self.rows.push(json!({
            "operation": row.name,
            "operations": cost.operations,
            "rate_per_second": cost.rate(),
            "p50_ms": p50,
            "p99_ms": p99,
            "server_cpu_ms": cost.cpu_ms(),
            "server_cpu_until_answered_ms": answered,
            "budget_ms": row.budget_ms,
            "lakefs_ms": row.lakefs_ms,
            "peak_resident_mib": cost.peak_mib,
            "answered_by": cost.answered_by,
        }));
    }

    /// What is no row: said below the row before it.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.json {
            println!("    {text}");
        }
        self.notes.push(text.to_owned());
    }

    pub(crate) fn end(self) {
        let peak = self.rows.iter().filter_map(|row| row["peak_resident_mib"].as_f64()).fold(0.0, f64::max);
        if self.json {
            let all = json!({"rows": self.rows, "notes": self.notes, "peak_resident_mib": peak, "memory_budget_mib": MEMORY_BUDGET_MIB});
            println!("{all:#}");
        } else {
            println!(
                "peak resident memory {peak:.0} MiB, budget {MEMORY_BUDGET_MIB} MiB, lakeFS 1000-2100 MiB"
            );
        }
    }
}
