//! Bar charts as SVG, without a library. A chart has groups of horizontal bars, with one
//! colour for each series, on a logarithmic or a linear axis.

use std::fmt::Write as _;
use std::fs;

use crate::numbers::short;
use crate::report;

const COLOURS: [&str; 6] = ["#9aa5b1", "#2563eb", "#16a34a", "#d97706", "#dc2626", "#7c3aed"];
const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;
const TOP: f64 = 66.0;

/// A bar chart.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    /// The unit of the bars, and the better direction.
    pub(crate) unit: &'static str,
    pub(crate) logarithmic: bool,
    pub(crate) series: Vec<String>,
    /// The name of each group and its number for each series.
    pub(crate) groups: Vec<(String, Vec<f64>)>,
}

impl Plot {
    pub(crate) fn write(&self, name: &str, quick: bool) -> anyhow::Result<()> {
        if quick {
            return Ok(());
        }
        fs::create_dir_all(report::plots())?;
        Ok(fs::write(report::plots().join(name).with_extension("svg"), self.svg())?)
    }

    fn svg(&self) -> String {
        let numbers = || self.groups.iter().flat_map(|(_, bars)| bars).filter(|n| n.is_finite());
        let max = numbers().copied().fold(f64::MIN_POSITIVE, f64::max);
        let min = numbers().copied().fold(max, f64::min);
        // A logarithmic axis begins at the power of ten below the minimum.
        let floor = 10_f64.powf(min.max(f64::MIN_POSITIVE).log10().floor());
        let length = |number: f64| {
            let share = match self.logarithmic {
                true => (number / floor).log10() / (max / floor).log10().max(0.01),
                false => number / max,
            };
            (share * (WIDTH - LEFT - RIGHT)).max(1.0)
        };
        let group = self.series.len() as f64 * BAR + GAP;
        let height = TOP + self.groups.len() as f64 * group + 8.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"12\" y=\"20\" font-size=\"15\" font-weight=\"600\">{}</text>\n\
             <text x=\"12\" y=\"36\" fill=\"#52606d\">{}{}</text>\n",
            self.title,
            self.unit,
            if self.logarithmic { "; logarithmic axis" } else { "" },
        );
        for (index, name) in self.series.iter().enumerate() {
            let x = 12.0 + index as f64 * 148.0;
            let colour = COLOURS[index % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"46\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"55\">{name}</text>",
                x + 14.0
            );
        }
        for (row, (name, bars)) in self.groups.iter().enumerate() {
            let top = TOP + row as f64 * group + GAP / 2.0;
            let middle = top + self.series.len() as f64 * BAR / 2.0 + 4.0;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>",
                LEFT - 8.0
            );
            for (index, number) in bars.iter().enumerate().filter(|(_, n)| n.is_finite()) {
                let y = top + index as f64 * BAR;
                let width = length(*number);
                let colour = COLOURS[index % COLOURS.len()];
                let _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{}</text>",
                    BAR - 2.0,
                    LEFT + width + 4.0,
                    y + BAR - 4.0,
                    short(*number)
                );
            }
        }
        svg + "</svg>\n"
    }
}
