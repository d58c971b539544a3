package jcsim

import "fmt"

// EditUser sets fields of a user under their names in the v1 document, as an
// administrator does in the console: "state" suspends and activates.
func (s *Server) EditUser(id string, fields map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.find(id)
	if u == nil {
		return fmt.Errorf("edit user %s: no such user", id)
	}
	if err := s.update(by{}, u, fields); err != nil {
		return fmt.Errorf("edit user %s: %w", id, err)
	}
	return nil
}

// DeleteUser deletes a user; who had it as manager has none then.
func (s *Server) DeleteUser(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.find(id)
	if u == nil {
		return fmt.Errorf("delete user %s: no such user", id)
	}
	for _, other := range s.users {
		if other.text("manager") == id {
			delete(other.doc, "manager")
		}
	}
	s.remove(u)
	s.userEvent(by{}, "user_delete", u, nil)
	return nil
}

// EditGroup replaces the fields of a group that are given, under their names
// in the v2 document.
func (s *Server) EditGroup(id string, fields map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(id)
	if g == nil {
		return fmt.Errorf("edit group %s: no such group", id)
	}
	all := make(map[string]any, len(g.doc))
	for name, value := range g.doc {
		all[name] = value
	}
	for name, value := range fields {
		all[name] = value
	}
	doc, err := s.groupFields(g, all)
	if err != nil {
		return fmt.Errorf("edit group %s: %w", id, err)
	}
	for name, value := range doc {
		g.doc[name] = value
	}
	s.groupEvent(by{}, "group_update", g)
	return nil
}

// DeleteGroup deletes a group.
func (s *Server) DeleteGroup(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(id)
	if g == nil {
		return fmt.Errorf("delete group %s: no such group", id)
	}
	s.removeGroup(by{}, g)
	return nil
}

// BindUser binds a user to an Active Directory object, or undoes that.
func (s *Server) BindUser(adID, userID string, bound bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.directory(adID)
	if d == nil || s.find(userID) == nil {
		return fmt.Errorf("bind user %s to %s: no such user or Active Directory", userID, adID)
	}
	s.bind(d, &d.users, nodeUser, userID, bound)
	return nil
}

// BindGroup binds a group to an Active Directory object, or undoes that.
func (s *Server) BindGroup(adID, groupID string, bound bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.directory(adID)
	if d == nil || s.group(groupID) == nil {
		return fmt.Errorf("bind group %s to %s: no such group or Active Directory", groupID, adID)
	}
	s.bind(d, &d.groups, nodeGroup, groupID, bound)
	return nil
}

func (s *Server) bind(d *directory, to *edges, node, id string, bound bool) {
	if bound && to.add(id) || !bound && to.remove(id) {
		s.edgeEvent(by{}, bound, nodeDirectory, d.ID, node, id)
	}
}

// SetDelegation sets a domain's delegationState, as JumpCloud does of a PENDING
// one once an import agent has reported.
func (s *Server) SetDelegation(adID, state string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.directory(adID)
	if d == nil {
		return fmt.Errorf("set the delegation state of %s: no such Active Directory", adID)
	}
	d.DelegationState = state
	return nil
}
