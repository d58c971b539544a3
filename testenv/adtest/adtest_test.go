package adtest

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dirgate/dirgate/certs/certstest"
	"github.com/dirgate/dirgate/store/secret"
	"github.com/dirgate/dirgate/testenv/adsim"
	"github.com/dirgate/dirgate/testenv/samba"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSimulator(t *testing.T) {
	Run(t, func(t *testing.T) Target {
		policy := adsim.DefaultPolicy()
		policy.LockoutThreshold = Threshold
		ca := certstest.New(t)
		admin := secret.New([]byte("Adm1n-of-a-test"))
		s, err := adsim.Start(adsim.Config{TLS: ca.Server("127.0.0.1"), Policy: policy, AdminPassword: admin})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return Target{
			URL: s.URL(), TLS: ca.Client("127.0.0.1"), BaseDN: s.BaseDN(), Domain: s.Domain(), NetBIOS: s.NetBIOS(),
			AdminDN: s.AdminDN(), AdminPassword: admin,
			Expire: func(tb testing.TB, dn string) {
				tb.Helper()
				if err := s.AgePassword(dn); err != nil {
					tb.Fatal(err)
				}
			},
		}
	})
}

func TestSamba(t *testing.T) {
	Run(t, func(t *testing.T) Target {
		dc := samba.Start(t, samba.Lockout(Threshold, time.Hour))
		return Target{
			Samba: true, URL: dc.URL, TLS: dc.TLS(), BaseDN: dc.BaseDN, Domain: dc.Domain, NetBIOS: dc.NetBIOS,
			AdminDN: dc.AdminDN, AdminPassword: dc.AdminPassword, Expire: dc.Expire,
		}
	})
}
