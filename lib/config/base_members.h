// Fields of a struct that come from its bases.
#pragma once

namespace rwkvlab {

/// A member of a base of T as a member of T, which is what Fields<T> takes: f.add("width", own<T>(&Base::width), ...).
template <class T, class Base, class Member>
constexpr Member T::*own(Member Base::*member) {
  return member;
}

}  // namespace rwkvlab
