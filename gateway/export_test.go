package gateway

// outstanding counts the unanswered requests of all sessions.
func (s *Server) outstanding() int {
	n := 0
	for _, sess := range s.snapshot() {
		n += sess.flight.len()
	}
	return n
}
