//! The simulated tree of names: what a process sees, what is durable, and the changes
//! between the two.
//!
//! A change (a file's creation, an unlink, a rename) is atomic. It becomes durable with a sync of
//! every directory it touches, or by chance when the power is cut; but never without the earlier
//! changes that it builds on (same name, or the emptying of a directory that it removes).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::random::SeededRandom;

/// Identifies a file or a directory, whatever its names. Never used twice.
pub(super) type Inode = u64;

/// The root's inode.
pub(super) const ROOT: Inode = 0;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    File(Inode),
    Directory(Inode),
}

type Entries = BTreeMap<String, Entry>;

#[derive(Debug, Default)]
struct Directory {
    cached: Entries,
    durable: Entries,
}

/// One name in one directory gets another meaning, or none.
#[derive(Debug)]
struct Edit {
    directory: Inode,
    name: String,
    entry: Option<Entry>,
    synced: bool,
}

/// Edits that become durable together.
#[derive(Debug)]
struct Change {
    edits: Vec<Edit>,
    /// The directory that this removes: all changes within it come first.
    removes: Option<Inode>,
}

/// The tree of names.
#[derive(Debug)]
pub(super) struct Names {
    directories: BTreeMap<Inode, Directory>,
    pending: Vec<Change>,
    next_inode: Inode,
}

impl Names {
    pub(super) fn new() -> Self {
        let directories = BTreeMap::from([(ROOT, Directory::default())]);
        Self { directories, pending: Vec::new(), next_inode: ROOT + 1 }
    }

    /// What the path stands for now.
    pub(super) fn find(&self, path: &[&str]) -> io::Result<Entry> {
        self.walk(path, |directory| &directory.cached)
    }

    /// What the path would stand for if all that is not durable were lost.
    pub(super) fn find_durable(&self, path: &[&str]) -> io::Result<Entry> {
        self.walk(path, |directory| &directory.durable)
    }

    /// The file that the path stands for now.
    pub(super) fn find_file(&self, path: &[&str]) -> io::Result<Inode> {
        file(self.find(path)?)
    }

    /// The file that the path stands for durably.
    pub(super) fn find_durable_file(&self, path: &[&str]) -> io::Result<Inode> {
        file(self.find_durable(path)?)
    }

    /// The names in a directory, sorted.
    pub(super) fn list(&self, path: &[&str]) -> io::Result<Vec<String>> {
        let directory = self.find_directory(path)?;
        Ok(self.directories[&directory].cached.keys().cloned().collect())
    }

    /// Creates a file; its name is not durable.
    pub(super) fn create_file(&mut self, path: &[&str]) -> io::Result<Inode> {
        let (directory, name) = self.place(path)?;
        if self.directories[&directory].cached.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.draw_inode();
        self.change(vec![edit(directory, name, Some(Entry::File(inode)))], None);
        Ok(inode)
    }

    /// Renames a file over another, or a file or directory to a name that is free.
    pub(super) fn rename(&mut self, from: &[&str], to: &[&str]) -> io::Result<()> {
        let entry = self.find(from)?;
        let (old_directory, old_name) = self.place(from)?;
        let (new_directory, new_name) = self.place(to)?;
        match (entry, self.find(to)) {
            (_, Err(_)) | (Entry::File(_), Ok(Entry::File(_))) => {}
            (Entry::File(_), Ok(Entry::Directory(_))) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Entry::Directory(_), Ok(Entry::File(_))) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            (Entry::Directory(_), Ok(Entry::Directory(_))) => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        if matches!(entry, Entry::Directory(_)) && to.starts_with(from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let edits = vec![edit(old_directory, old_name, None), edit(new_directory, new_name, Some(entry))];
        self.change(edits, None);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &[&str]) -> io::Result<()> {
        self.find_file(path)?;
        let (directory, name) = self.place(path)?;
        self.change(vec![edit(directory, name, None)], None);
        Ok(())
    }

    /// Creates the directories of the path, durably.
    pub(super) fn create_directories(&mut self, path: &[&str]) -> io::Result<()> {
        let mut at = ROOT;
        for name in path {
            let existing = self.directories[&at].cached.get(*name).copied();
            let next = match existing {
                Some(Entry::Directory(inode)) => inode,
                Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let inode = self.draw_inode();
                    self.directories.insert(inode, Directory::default());
                    self.change(vec![edit(at, name, Some(Entry::Directory(inode)))], None);
                    inode
                }
            };
            self.sync(at);
            at = next;
        }
        Ok(())
    }

    /// Removes a directory and all below it, the deepest first.
    pub(super) fn remove_directories(&mut self, path: &[&str]) -> io::Result<()> {
        let removed = self.find_directory(path)?;
        let (directory, name) = self.place(path)?;
        self.empty(removed);
        self.change(vec![edit(directory, name, None)], Some(removed));
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&mut self, path: &[&str]) -> io::Result<()> {
        let directory = self.find_directory(path)?;
        self.sync(directory);
        Ok(())
    }

    /// The power is cut: of the pending changes any subset persists that is closed under what each builds on.
    pub(super) fn lose_power(&mut self, random: &mut SeededRandom) {
        self.commit(|_| random.coin());
        self.pending.clear();
        for directory in self.directories.values_mut() {
            directory.cached = directory.durable.clone();
        }
        let reachable = self.reachable();
        self.directories.retain(|inode, _| *inode == ROOT || reachable.contains(inode));
    }

    /// The inodes that some name stands for, now, durably or after a change that may persist.
    pub(super) fn reachable(&self) -> BTreeSet<Inode> {
        let entries = self
            .directories
            .values()
            .flat_map(|directory| directory.cached.values().chain(directory.durable.values()));
        let pending =
            self.pending.iter().flat_map(|change| &change.edits).filter_map(|edit| edit.entry.as_ref());
        entries.chain(pending).map(|(Entry::File(inode) | Entry::Directory(inode))| *inode).collect()
    }

    /// The inodes of the files that a process can reach by name.
    pub(super) fn named_files(&self) -> BTreeSet<Inode> {
        let entries = self.directories.values().flat_map(|directory| directory.cached.values());
        entries.filter_map(|entry| file(*entry).ok()).collect()
    }

    /// The paths of all files, sorted; as durable or as seen now.
    pub(super) fn files(&self, durable: bool) -> Vec<String> {
        let mut files = Vec::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((prefix, inode)) = open.pop() {
            let Some(directory) = self.directories.get(&inode) else {
                continue;
            };
            for (name, entry) in if durable { &directory.durable } else { &directory.cached } {
                match entry {
                    Entry::File(_) => files.push(format!("{prefix}{name}")),
                    Entry::Directory(inode) => open.push((format!("{prefix}{name}/"), *inode)),
                }
            }
        }
        files.sort_unstable();
        files
    }

    fn walk(&self, path: &[&str], entries: impl Fn(&Directory) -> &Entries) -> io::Result<Entry> {
        let mut at = Entry::Directory(ROOT);
        for name in path {
            let Entry::Directory(inode) = at else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let directory = self.directories.get(&inode).ok_or(io::ErrorKind::NotFound)?;
            at = entries(directory).get(*name).copied().ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    fn find_directory(&self, path: &[&str]) -> io::Result<Inode> {
        match self.find(path)? {
            Entry::Directory(inode) => Ok(inode),
            Entry::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds the path's last component, and that component.
    fn place<'a>(&self, path: &[&'a str]) -> io::Result<(Inode, &'a str)> {
        let (name, parent) = path.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find_directory(parent)?, name))
    }

    fn draw_inode(&mut self) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        inode
    }

    fn empty(&mut self, directory: Inode) {
        let entries: Vec<_> = self.directories[&directory].cached.clone().into_iter().collect();
        for (name, entry) in entries {
            let mut removes = None;
            if let Entry::Directory(inode) = entry {
                self.empty(inode);
                removes = Some(inode);
            }
            self.change(vec![edit(directory, &name, None)], removes);
        }
    }

    /// Makes a change visible, and remembers that it is not durable.
    fn change(&mut self, edits: Vec<Edit>, removes: Option<Inode>) {
        for edit in &edits {
            if let Some(directory) = self.directories.get_mut(&edit.directory) {
                apply(&mut directory.cached, edit);
            }
        }
        self.pending.push(Change { edits, removes });
    }

    fn sync(&mut self, directory: Inode) {
        for edit in self.pending.iter_mut().flat_map(|change| &mut change.edits) {
            edit.synced |= edit.directory == directory;
        }
        self.commit(|change| change.edits.iter().all(|edit| edit.synced));
    }

    /// Makes the chosen changes durable, and those that they build on.
    fn commit(&mut self, mut chosen: impl FnMut(&Change) -> bool) {
        let mut needed_names: BTreeSet<(Inode, String)> = BTreeSet::new();
        let mut needed_directories: BTreeSet<Inode> = BTreeSet::new();
        let (mut committed, mut kept) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            let is_needed = change.edits.iter().any(|edit| {
                needed_directories.contains(&edit.directory)
                    || needed_names.contains(&(edit.directory, edit.name.clone()))
            });
            // Asked for each change, so that chance does not depend on what is needed.
            if chosen(&change) || is_needed {
                needed_names.extend(change.edits.iter().map(|edit| (edit.directory, edit.name.clone())));
                needed_directories.extend(change.removes);
                committed.push(change);
            } else {
                kept.push(change);
            }
        }
        kept.reverse();
        self.pending = kept;
        for change in committed.iter().rev() {
            for edit in &change.edits {
                if let Some(directory) = self.directories.get_mut(&edit.directory) {
                    apply(&mut directory.durable, edit);
                }
            }
        }
    }
}

fn apply(entries: &mut Entries, edit: &Edit) {
    match edit.entry {
        Some(entry) => entries.insert(edit.name.clone(), entry),
        None => entries.remove(&edit.name),
    };
}

fn edit(directory: Inode, name: &str, entry: Option<Entry>) -> Edit {
    Edit { directory, name: name.to_owned(), entry, synced: false }
}

fn file(entry: Entry) -> io::Result<Inode> {
    match entry {
        Entry::File(inode) => Ok(inode),
        Entry::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
    }
}
