package ad

import (
	"context"
	"errors"
	"regexp"

	"github.com/dirgate/dirgate/store/secret"
	"github.com/go-ldap/ldap/v3"
)

// Proof is what one bind says about a password.
type Proof int

const (
	Undecided Proof = iota // the DC did not say: unavailable, locked out, unexplained
	Right                  // accepted, or refused for a reason AD gives only to the right password
	Wrong
)

// subCode finds the Win32 error after "data" in AD's text (winerror.h).
var subCode = regexp.MustCompile(`, data ([0-9a-f]+),`)

// rightButRefused are the logon errors that AD reports only when the password
// was right: restricted hours or workstation, expired, disabled, account
// expired, must change.
var rightButRefused = map[string]string{
	"530": "not at this time", "531": "not from this workstation", "532": "password expired",
	"533": "disabled", "701": "account expired", "773": "must change password",
}

// TestPassword makes one bind with a password, on a connection of its own.
// A wrong password counts towards the account's lockout: the caller keeps the
// budget. A "wrong" of another controller than the one named by dc is
// undecided: it may not know of a change yet that dc knows. before is called
// when a controller is connected; when it returns an error no bind is made.
func (c *Client) TestPassword(ctx context.Context, dn, dc string, password secret.Bytes, before func() error) (Proof, string, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return Undecided, "", err
	}
	defer conn.Close()
	if err := before(); err != nil {
		return Undecided, "", err
	}
	proof, why, err := testPassword(ctx, conn.Conn, dn, password)
	if proof == Wrong && conn.dc != dc {
		return Undecided, "wrong password, according to " + conn.dc, nil
	}
	return proof, why, err
}

func testPassword(ctx context.Context, conn *ldap.Conn, dn string, password secret.Bytes) (Proof, string, error) {
	err := bind(ctx, conn, dn, password)
	if err == nil {
		return Right, "accepted", nil
	}
	var refused *ldap.Error
	if !errors.As(err, &refused) || refused.ResultCode != ldap.LDAPResultInvalidCredentials {
		return Undecided, "", err
	}
	m := subCode.FindStringSubmatch(refused.Err.Error())
	if m == nil {
		return Undecided, "refused without a reason", nil
	}
	if why, ok := rightButRefused[m[1]]; ok {
		return Right, why, nil
	}
	if m[1] == "52e" {
		return Wrong, "wrong password", nil
	}
	return Undecided, "refused with data " + m[1], nil
}
