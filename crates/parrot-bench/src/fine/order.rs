//! The order of the servers in each block of rounds.

/// The places of `count` servers in the order of block number `block`.
///
/// Over `count` blocks, or twice as many if `count` is odd, each server has each place equally often, and each of the
/// others runs before it equally often. So neither a steady change of the machine nor what one server leaves in caches
/// favours another (E. J. Williams, Experimental designs balanced for the estimation of residual effects of treatments,
/// Australian Journal of Scientific Research A 2, 1949, pages 149 to 168).
pub(crate) fn order(block: usize, count: usize) -> Vec<usize> {
    // The first order is 0, 1, n-1, 2, n-2 and so on, in which no two distances between neighbours are the same. The
    // next ones are shifted by one each, and the second half of an odd number is reversed.
    let first = (0..count).map(|place| if place % 2 == 1 { place / 2 + 1 } else { (count - place / 2) % count });
    let mut order: Vec<usize> = first.map(|server| (server + block) % count).collect();
    if count % 2 == 1 && (block / count) % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// How often each value comes.
    fn counts<T: Ord>(values: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
        let mut counts = BTreeMap::new();
        values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
        counts
    }

    #[test]
    fn two_servers_alternate() {
        assert_eq!([0, 1, 2].map(|block| order(block, 2)), [[0, 1], [1, 0], [0, 1]]);
    }

    #[test]
    fn the_orders_of_four_are_the_published_ones() {
        let orders = [0, 1, 2, 3].map(|block| order(block, 4));
        assert_eq!(orders, [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]);
    }

    #[test]
    fn places_and_neighbours_are_balanced() {
        for count in 1..=13 {
            let repeats = 1 + count % 2;
            let orders: Vec<Vec<usize>> = (0..count * repeats).map(|block| order(block, count)).collect();
            let places = counts(orders.iter().flat_map(|order| order.iter().copied().enumerate()));
            assert!(places.len() == count * count && places.values().all(|often| *often == repeats), "{count}");
            let pairs = counts(orders.iter().flat_map(|order| order.windows(2).map(<[usize]>::to_vec)));
            assert_eq!(pairs.len(), count * (count - 1), "{count}: each server follows each other one");
            assert!(pairs.values().all(|often| *often == repeats), "{count}: {pairs:?}");
        }
    }

    #[test]
    fn nobody_has_an_order() {
        assert_eq!(order(7, 0), [0; 0]);
    }
}
