package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
)

// PasswordsInSync counts the linked users of a domain, and those of them whose
// password in AD, as the mirror has it, is the one that both sides were last
// known to have (by pwdLastSet).
func (s *Store) PasswordsInSync(domain string) (linked, same int, err error) {
	domain = strings.ToLower(domain)
	prefix := append([]byte(prefixLink+domain), 0)
	err = s.view(func(txn *badger.Txn) error {
		return scan(txn, prefix, nil, false, func(item *badger.Item) (bool, error) {
			var link struct {
				GUID        identity.GUID `json:"guid"`
				PasswordSet int64         `json:"passwordSet"`
			}
			if err := item.Value(func(value []byte) error { return decode(value, &link) }); err != nil {
				return false, err
			}
			linked++
			if link.PasswordSet == 0 {
				return true, nil
			}
			var account struct {
				PwdLastSet int64 `json:"pwdLastSet"`
			}
			err := get(txn, keyMirror(domain, mirrorUser, link.GUID), &account)
			if err == nil && account.PwdLastSet == link.PasswordSet {
				same++
			}
			if errors.Is(err, ErrNotFound) {
				err = nil
			}
			return true, err
		})
	})
	if err != nil {
		return 0, 0, fmt.Errorf("passwords of %s: %w", domain, err)
	}
	return linked, same, nil
}
