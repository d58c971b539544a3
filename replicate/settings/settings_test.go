package settings

import (
	"testing"

	"github.com/dirgate/dirgate/store"
)

func TestSettingsNameServiceAccounts(t *testing.T) {
	s := Of(store.Domain{Name: "corp.example", ImportAccount: "CN=i", SyncAccount: `CORP\s`})
	if s.ImportAccount != "CN=i" || s.SyncAccount != `CORP\s` {
		t.Errorf("got %+v: the password of a service account would wait for a user that is never made", s)
	}
}
