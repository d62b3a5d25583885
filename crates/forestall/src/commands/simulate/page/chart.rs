//! One chart: areas, lines, walls and moments over time, as inline SVG that stretches with the page, its text beside it in
//! HTML, so that letters keep their size on a telephone and on paper.
//!
//! It refuses to speak by colour alone: lines differ by their strokes, and whatever is drawn is named in the legend.

use std::fmt::Write as _;

use forestall_decide::Moment;

use super::markup::{html, text};
use super::scale::{HEIGHT, Scale, WIDTH};

/// A value at a moment.
pub(super) type Point = (Moment, u64);

/// What a chart shows.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) scale: Scale,
    /// Unique on the page.
    pub(super) id: String,
    pub(super) title: String,
    /// The chart in a sentence or two, for those who do not see it.
    pub(super) description: String,
    pub(super) areas: Vec<Area>,
    pub(super) lines: Vec<Line>,
    pub(super) walls: Vec<Wall>,
    pub(super) stripes: Vec<Stripe>,
    pub(super) moments: Vec<Instant>,
}

/// A band between two lines.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) lower: Vec<Point>,
    pub(super) upper: Vec<Point>,
}

/// A curve.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// A limit.
#[derive(Debug)]
pub(super) struct Wall {
    pub(super) at: u64,
    pub(super) name: String,
}

/// A time in which something lasts.
#[derive(Debug)]
pub(super) struct Stripe {
    pub(super) from: Moment,
    pub(super) to: Moment,
    pub(super) name: String,
}

/// A moment at which something happens.
#[derive(Debug)]
pub(super) struct Instant {
    pub(super) at: Moment,
    pub(super) class: &'static str,
    pub(super) name: String,
}

impl Chart {
    /// The chart with its legend.
    pub(super) fn render(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<figure>\n<figcaption>{}</figcaption>\n<div class=\"plot\">",
            text(&self.title)
        );
        self.drawing(out);
        for (amount, name) in self.scale.amounts() {
            let _ = write!(
                out,
                "<span class=\"y\" style=\"top:{}\">{name}</span>",
                self.scale.above(amount)
            );
        }
        for (at, name) in self.scale.times() {
            // At the edge a name in the middle would hang over it.
            let class = if self.scale.x(at) > WIDTH - WIDTH / 16 {
                "x last"
            } else {
                "x"
            };
            let _ = write!(
                out,
                "<span class=\"{class}\" style=\"left:{}\">{name}</span>",
                self.scale.left(at)
            );
        }
        let mut walls: Vec<&Wall> = self.walls.iter().collect();
        walls.sort_by_key(|wall| wall.at);
        for (index, wall) in walls.iter().enumerate() {
            // The lower of two walls has its name below its line, where the upper one's cannot touch it.
            let side = if index + 1 < walls.len() { "below" } else { "over" };
            let end = if self.is_free_on_the_right(wall) {
                "right"
            } else {
                "left"
            };
            let _ = write!(
                out,
                "<span class=\"wall {side} {end}\" style=\"top:{}\">{}</span>",
                self.scale.above(wall.at),
                text(&wall.name)
            );
        }
        out.push_str("</div>\n<ul class=\"legend\">");
        for line in &self.lines {
            let _ = write!(
                out,
                "<li><svg class=\"key\" viewBox=\"0 0 24 10\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 5H24\"/></svg>{}</li>",
                line.class,
                text(&line.name)
            );
        }
        // As they lie on each other, the uppermost first.
        for area in self.areas.iter().rev() {
            let _ = write!(
                out,
                "<li><svg class=\"key\" viewBox=\"0 0 24 10\" aria-hidden=\"true\"><rect class=\"{}\" width=\"24\" height=\"10\"/></svg>{}</li>",
                area.class,
                text(&area.name)
            );
        }
        out.push_str("</ul>\n</figure>\n");
    }

    /// Whether a wall's name hides less of the curves at its right end than at its left one.
    fn is_free_on_the_right(&self, wall: &Wall) -> bool {
        let height = self.scale.y(wall.at);
        let nearest = |from: u64, to: u64| {
            self.lines
                .iter()
                .flat_map(|line| &line.points)
                .filter(|(at, _)| (from..=to).contains(&self.scale.x(*at)))
                .map(|(_, value)| self.scale.y(*value).abs_diff(height))
                .min()
                .unwrap_or(HEIGHT)
        };
        // Past a quarter of the chart's height nothing is hidden, and the right end is where a reader looks.
        nearest(WIDTH / 5 * 3, WIDTH).min(HEIGHT / 4) >= nearest(0, WIDTH / 5 * 2).min(HEIGHT / 4)
    }

    fn drawing(&self, out: &mut String) {
        let (scale, id) = (&self.scale, &self.id);
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"{id}t {id}d\">\n\
             <title id=\"{id}t\">{}</title><desc id=\"{id}d\">{}</desc>",
            text(&self.title),
            text(&self.description)
        );
        for (amount, _) in scale.amounts() {
            let _ = write!(out, "<path class=\"grid\" d=\"M0 {}H{WIDTH}\"/>", scale.y(amount));
        }
        for stripe in &self.stripes {
            let (from, to) = (scale.x(stripe.from), scale.x(stripe.to));
            let _ = write!(
                out,
                "<rect class=\"stripe\" x=\"{from}\" width=\"{}\" height=\"{HEIGHT}\"><title>{}</title></rect>",
                to.saturating_sub(from).max(20),
                text(&stripe.name)
            );
        }
        for area in &self.areas {
            let mut path = self.path(&area.upper);
            let back: Vec<Point> = area.lower.iter().rev().copied().collect();
            path.push('L');
            path.push_str(self.path(&back).trim_start_matches('M'));
            let _ = writeln!(
                out,
                "<path class=\"{}\" d=\"{path}Z\"><title>{}</title></path>",
                area.class,
                text(&area.name)
            );
        }
        for wall in &self.walls {
            let _ = write!(
                out,
                "<path class=\"limit\" d=\"M0 {}H{WIDTH}\"><title>{}</title></path>",
                scale.y(wall.at),
                text(&wall.name)
            );
        }
        for instant in &self.moments {
            let _ = write!(
                out,
                "<path class=\"instant {}\" d=\"M{} 0V{HEIGHT}\"><title>{}</title></path>",
                instant.class,
                scale.x(instant.at),
                html(&instant.name)
            );
        }
        for line in &self.lines {
            let _ = writeln!(
                out,
                "<path class=\"{}\" d=\"{}\"><title>{}</title></path>",
                line.class,
                self.path(&line.points),
                text(&line.name)
            );
        }
        out.push_str("</svg>");
    }

    /// A path through points; those that change nothing are left out.
    fn path(&self, points: &[Point]) -> String {
        let mut kept: Vec<(u64, u64)> = Vec::with_capacity(points.len());
        for (at, value) in points {
            let point = (self.scale.x(*at), self.scale.y(*value));
            if let [.., before, last] = kept.as_mut_slice() {
                let level = before.1 == last.1 && last.1 == point.1;
                if level && before.0 <= last.0 && last.0 <= point.0 {
                    *last = point;
                    continue;
                }
            }
            if kept.last() != Some(&point) {
                kept.push(point);
            }
        }
        let mut path = String::new();
        for (x, y) in kept {
            let start = if path.is_empty() { 'M' } else { ' ' };
            let _ = write!(path, "{start}{x} {y}");
        }
        path
    }
}
