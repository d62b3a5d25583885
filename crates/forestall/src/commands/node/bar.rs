//! The picture: memory from nothing to capacity as a bar, with the walls marked where they stand.

use super::division::Division;

/// What a cell of the bar shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// In use, and not to be had back.
    Used,
    /// In use for cache.
    Cache,
    /// Free to use.
    Free,
    /// Above a threshold of the kubelet: who is here gets evicted.
    Evicting,
    /// Reserved for others than pods.
    Reserved,
}

impl Cell {
    /// Its letter.
    pub(crate) const fn glyph(self) -> char {
        match self {
            Self::Used => '█',
            Self::Cache => '▓',
            Self::Free => '·',
            Self::Evicting => '▒',
            Self::Reserved => '░',
        }
    }

    /// The SGR parameters of its colour.
    pub(crate) const fn colour(self) -> &'static str {
        match self {
            Self::Used => "32",
            Self::Cache => "36",
            Self::Free => "2",
            Self::Evicting => "33",
            Self::Reserved => "34",
        }
    }
}

/// What is filled in, in bytes from the left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    /// In use.
    pub(crate) used: u64,
    /// Cache behind it.
    pub(crate) cache: u64,
}

/// The bar of all pods, who are evicted from `evicting` on.
pub(crate) fn pods(division: &Division, evicting: u64, fill: Fill, width: usize) -> Vec<Cell> {
    let limit = division.pods_end();
    cells(division.capacity_bytes, width, fill, |byte| {
        if byte < evicting {
            Cell::Free
        } else if byte < limit {
            Cell::Evicting
        } else {
            Cell::Reserved
        }
    })
}

/// The bar of the whole machine.
pub(crate) fn node(division: &Division, has_kubelet: bool, fill: Fill, width: usize) -> Vec<Cell> {
    let hard = if has_kubelet {
        division.eviction_hard_bytes
    } else {
        0
    };
    let evicting = division.capacity_bytes.saturating_sub(hard);
    cells(division.capacity_bytes, width, fill, |byte| {
        if byte < evicting {
            Cell::Free
        } else {
            Cell::Evicting
        }
    })
}

fn cells(capacity: u64, width: usize, fill: Fill, region: impl Fn(u64) -> Cell) -> Vec<Cell> {
    let cell = |column: usize| {
        // The middle of the cell stands for all of it.
        let byte = scale(capacity, 2 * column + 1, 2 * width);
        if byte < fill.used {
            Cell::Used
        } else if byte < fill.used.saturating_add(fill.cache) {
            Cell::Cache
        } else {
            region(byte)
        }
    };
    (0..width).map(cell).collect()
}

/// `whole × part ÷ of`, exactly.
fn scale(whole: u64, part: usize, of: usize) -> u64 {
    let (part, of) = (part as u128, (of as u128).max(1));
    u64::try_from(u128::from(whole) * part / of).unwrap_or(u64::MAX)
}

/// The line of letters below the bars: each at the column of its figure, moved apart where they would collide.
pub(crate) fn marks(capacity: u64, width: usize, marked: &[(char, u64)]) -> String {
    let mut line = vec![' '; width];
    let last = width.saturating_sub(1);
    let column = |at: u64| {
        let exact = u128::from(at) * width as u128 / u128::from(capacity.max(1));
        usize::try_from(exact).unwrap_or(last).min(last)
    };
    // From the right, because the figures that lie close together lie at the end.
    let mut sorted: Vec<_> = marked.iter().map(|(letter, at)| (column(*at), *letter)).collect();
    sorted.sort_by_key(|(column, letter)| (*column, *letter));
    let mut limit = last;
    for (column, letter) in sorted.into_iter().rev() {
        let place = column.min(limit);
        if let Some(cell) = line.get_mut(place) {
            *cell = letter;
        }
        limit = place.saturating_sub(1);
    }
    line.into_iter().collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 bytes: limit 80 with a threshold of 10, so that pods are evicted from 70 and the node from 90.
    const DIVISION: Division = Division {
        capacity_bytes: 100,
        kube_reserved_bytes: 20,
        system_reserved_bytes: 0,
        hugepages_bytes: 0,
        eviction_hard_bytes: 10,
        eviction_soft_bytes: None,
        kubepods_limit_bytes: Some(80),
        allocatable_bytes: 70,
    };

    fn drawn(cells: &[Cell]) -> String {
        cells.iter().map(|cell| cell.glyph()).collect()
    }

    #[test]
    fn a_bar_shows_who_may_use_what() {
        assert_eq!(drawn(&pods(&DIVISION, 70, Fill::default(), 10)), "·······▒░░");
        assert_eq!(drawn(&node(&DIVISION, true, Fill::default(), 10)), "·········▒");
        assert_eq!(drawn(&node(&DIVISION, false, Fill::default(), 10)), "··········");
    }

    #[test]
    fn use_is_filled_in_from_the_left() {
        let fill = Fill { used: 30, cache: 20 };
        assert_eq!(drawn(&pods(&DIVISION, 70, fill, 10)), "███▓▓··▒░░");
        assert_eq!(
            drawn(&node(&DIVISION, true, Fill { used: 95, cache: 0 }, 10)),
            "█████████▒"
        );
    }

    #[test]
    fn letters_stand_at_their_figures_and_never_on_each_other() {
        assert_eq!(
            marks(100, 10, &[('A', 70), ('B', 80), ('C', 90), ('D', 100)]),
            "      ABCD"
        );
        assert_eq!(
            marks(100, 20, &[('A', 70), ('B', 80), ('C', 90), ('D', 100)]),
            "              A B CD"
        );
        assert_eq!(
            marks(1000, 10, &[('A', 1000), ('B', 999), ('C', 998)])
                .chars()
                .count(),
            10
        );
    }

    #[test]
    fn a_bar_of_no_width_or_no_memory_is_empty() {
        assert!(pods(&DIVISION, 70, Fill::default(), 0).is_empty());
        assert_eq!(marks(0, 0, &[('A', 5)]), "");
        assert_eq!(marks(0, 3, &[('A', 5)]), "  A");
    }
}
