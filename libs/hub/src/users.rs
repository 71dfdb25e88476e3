//! The users who are here, found by id, or without a search by where they are kept.

use std::collections::HashMap;

use crier_domain::UserId;
use slab::Slab;

use crate::roster::User;

/// Where a user is kept, from the first connection to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u32);

#[derive(Debug, Default)]
pub(crate) struct Users {
    places: HashMap<UserId, Place>,
    kept: Slab<User>,
}

impl Users {
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// In no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = UserId> {
        self.places.keys().copied()
    }

    pub(crate) fn place(&self, id: UserId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    pub(crate) fn at(&self, place: Place) -> Option<&User> {
        self.kept.get(place.0 as usize)
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> Option<&mut User> {
        self.kept.get_mut(place.0 as usize)
    }

    pub(crate) fn get(&self, id: UserId) -> Option<&User> {
        self.at(self.place(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.at_mut(self.place(id)?)
    }

    /// A user who is not here yet.
    pub(crate) fn insert(&mut self, id: UserId, user: User) -> Place {
        // Nobody has four billion streams open.
        let place = u32::try_from(self.kept.insert(user)).unwrap_or(u32::MAX);
        self.places.insert(id, Place(place));
        Place(place)
    }

    /// The user, and the place, which the next to come may have.
    pub(crate) fn remove(&mut self, id: UserId) -> Option<(Place, User)> {
        let place = self.places.remove(&id)?;
        Some((place, self.kept.try_remove(place.0 as usize)?))
    }
}
