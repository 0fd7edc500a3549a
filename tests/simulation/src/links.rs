//! Which machines reach which. Several faults can cut one way: it is mended when the last of them is over.

use std::collections::BTreeMap;

use turmoil::Sim;

/// The ways that are cut, each in one direction, and by how many faults.
#[derive(Default)]
pub(crate) struct Links {
    cuts: BTreeMap<(String, String), u32>,
}

impl Links {
    /// Nothing gets from one machine to another any more; what is on its way is lost.
    pub(crate) fn cut(&mut self, sim: &Sim<'_>, from: &str, to: &str) {
        *self.cuts.entry((from.to_owned(), to.to_owned())).or_default() += 1;
        self.apply(sim, from, to);
    }

    /// Takes one such fault back.
    pub(crate) fn mend(&mut self, sim: &Sim<'_>, from: &str, to: &str) {
        let way = (from.to_owned(), to.to_owned());
        if let Some(count) = self.cuts.get_mut(&way) {
            *count -= 1;
            if *count == 0 {
                self.cuts.remove(&way);
            }
        }
        self.apply(sim, from, to);
    }

    /// Sets the network between two machines to what is known.
    pub(crate) fn apply(&self, sim: &Sim<'_>, a: &str, b: &str) {
        let is_cut = |from: &str, to: &str| self.cuts.contains_key(&(from.to_owned(), to.to_owned()));
        match (is_cut(a, b), is_cut(b, a)) {
            (true, true) => sim.partition(a, b),
            (false, false) => sim.repair(a, b),
            (true, false) => one_way(sim, a, b),
            (false, true) => one_way(sim, b, a),
        }
    }
}

fn one_way(sim: &Sim<'_>, from: &str, to: &str) {
    sim.repair(from, to);
    sim.partition_oneway(from, to);
}
