package store

import (
	"strings"
	"time"

	"github.com/dirgate/dirgate/store/identity"
)

// OpenCounts says how many changes of one direction of a domain are open.
type OpenCounts struct {
	Pending int       `json:"pending"`
	Held    int       `json:"held"`
	Dead    int       `json:"dead"`
	Oldest  time.Time `json:"oldestPending,omitzero"` // when it was made
}

// OpenCounts reads every open change of the direction, those of other domains
// too.
func (s *Store) OpenCounts(domain string, d identity.Direction) (c OpenCounts, err error) {
	for status, n := range map[identity.Status]*int{identity.StatusPending: &c.Pending, identity.StatusHeld: &c.Held, identity.StatusDead: &c.Dead} {
		for after := identity.Seq(0); ; {
			entries, err := s.openEntries(listKey{status, d}, maxPage, after)
			if err != nil {
				return c, err
			}
			for _, e := range entries {
				after = e.Seq
				if !strings.EqualFold(e.Account.Domain, domain) {
					continue
				}
				*n++
				if status == identity.StatusPending && c.Oldest.IsZero() {
					c.Oldest = e.At
				}
			}
			if len(entries) < maxPage {
				break
			}
		}
	}
	return c, nil
}
