package ldapwire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestG4_IsAttr(t *testing.T) {
	tests := []struct {
		desc string
		want Attr // 0: none
	}{
		{"unicodePwd", AttrUnicodePwd},
		{"UNICODEPWD", AttrUnicodePwd},
		{"unicodepwd;binary", AttrUnicodePwd},
		{"unicodePwd;lang-en;x-y", AttrUnicodePwd},
		{"unicodePwd;", AttrUnicodePwd},
		{" unicodePwd\t", AttrUnicodePwd},
		{"unicodePwd ;binary", AttrUnicodePwd},
		{"unicodePwd\x00", AttrUnicodePwd},
		{"unicodePwd\x00;x", AttrUnicodePwd},
		{"unicodePwd;\x00", AttrUnicodePwd},
		{"1.2.840.113556.1.4.90", AttrUnicodePwd},
		{"OID.1.2.840.113556.1.4.90", AttrUnicodePwd},
		{"oid.1.2.840.113556.1.4.90;binary", AttrUnicodePwd},
		{" OID.1.2.840.113556.1.4.90 ", AttrUnicodePwd},
		{"1.2.840.113556.1.04.090", AttrUnicodePwd},
		{"01.2.840.113556.1.4.90", AttrUnicodePwd},
		{"SupportedExtension", AttrSupportedExtension},
		{"1.3.6.1.4.1.1466.101.120.7", AttrSupportedExtension},
		{"supportedsaslmechanisms", AttrSupportedSASLMechanisms},
		{"1.3.6.1.4.1.1466.101.120.14", AttrSupportedSASLMechanisms},
		{"userPassword", AttrUserPassword},
		{"USERpassword;x", AttrUserPassword},
		{"2.5.4.35", AttrUserPassword},
		{"Oid.2.5.4.35", AttrUserPassword},
		{"pwdLastSet", AttrPwdLastSet},
		{"1.2.840.113556.1.4.96", AttrPwdLastSet},
		{"", 0},
		{";", 0},
		{"unicodePw", 0},
		{"unicodePwds", 0},
		{"xunicodePwd", 0},
		{"unicode\x00Pwd", 0},
		{"unicode Pwd", 0},
		{"OID.unicodePwd", 0},
		{"OID.", 0},
		{"1.2.840.113556.1.4.9", 0},
		{"1.2.840.113556.1.4.900", 0},
		{"1.2.840.113556.1.4.90.0", 0},
		{"1.2.840.113556.1.4..90", 0},
		{"2.5.4.350", 0},
		{"2.5.4.35.", 0},
		{"unicod\u212aPwd", 0}, // the Kelvin sign folds to k in Unicode, not in LDAP
		{"user\u017fassword", 0},
	}
	for _, tt := range tests {
		for _, a := range []Attr{AttrUnicodePwd, AttrUserPassword, AttrPwdLastSet, AttrSupportedExtension, AttrSupportedSASLMechanisms, 0, 99} {
			if got, want := IsAttr([]byte(tt.desc), a), a == tt.want && a != 0; got != want {
				t.Errorf("IsAttr(%q, %v) = %t, want %t", tt.desc, a, got, want)
			}
		}
	}
}

// utf16le writes ASCII as UTF-16LE.
func utf16le(s string) []byte {
	var b []byte
	for i := range len(s) {
		b = append(b, s[i], 0)
	}
	return b
}

func TestG4_DecodeUnicodePwd(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want string
		err  error
	}{
		{"as in MS-ADTS", unhex(t, "22004e00330077002d00500061007300730077003000720064002200"), "N3w-Passw0rd", nil},
		{"quotes inside", utf16le(`"a"b"`), `a"b`, nil},
		{"only a quote", utf16le(`"""`), `"`, nil},
		{"spaces count", utf16le(`" a "`), " a ", nil},
		{"two bytes of UTF-8", unhex(t, "2200 e900 2200"), "é", nil},
		{"decomposed stays decomposed", unhex(t, "2200 6500 0103 2200"), "e\u0301", nil},
		{"three bytes of UTF-8", unhex(t, "2200 ac20 2200"), "€", nil},
		{"pair", unhex(t, "2200 3dd8 11de 2200"), "😑", nil},
		{"U+FFFD itself", unhex(t, "2200 fdff 2200"), "\ufffd", nil},
		{"byte order mark inside", unhex(t, "2200 fffe 2200"), "\ufeff", nil},
		{"1000 characters", utf16le(`"` + strings.Repeat("x", 1000) + `"`), strings.Repeat("x", 1000), nil},

		{"no bytes", nil, "", ErrPwdNotQuoted},
		{"one quote", utf16le(`"`), "", ErrPwdNotQuoted},
		{"no quotes", utf16le("abc"), "", ErrPwdNotQuoted},
		{"no closing quote", utf16le(`"abc`), "", ErrPwdNotQuoted},
		{"no opening quote", utf16le(`abc"`), "", ErrPwdNotQuoted},
		{"UTF-8", []byte(`"abcd"`), "", ErrPwdNotQuoted},
		{"big-endian", unhex(t, "0022 0061 0022"), "", ErrPwdNotQuoted},
		{"byte order mark before", unhex(t, "fffe 2200 6100 2200"), "", ErrPwdNotQuoted},
		{"empty", utf16le(`""`), "", ErrPwdEmpty},
		{"odd at the end", append(utf16le(`"a"`), 0), "", ErrPwdOddLength},
		{"odd inside", unhex(t, "2200 61 2200"), "", ErrPwdOddLength},
		{"NUL", unhex(t, "2200 6100 0000 2200"), "", ErrPwdNUL},
		{"only NUL", unhex(t, "2200 0000 2200"), "", ErrPwdNUL},
		{"lone high surrogate", unhex(t, "2200 00d8 2200"), "", ErrPwdSurrogate},
		{"lone high surrogate before a letter", unhex(t, "2200 00d8 6100 2200"), "", ErrPwdSurrogate},
		{"lone low surrogate", unhex(t, "2200 00dc 2200"), "", ErrPwdSurrogate},
		{"pair the wrong way round", unhex(t, "2200 00dc 00d8 2200"), "", ErrPwdSurrogate},
		// The second half must not be taken from behind the closing quote.
		{"high surrogate before the quote", unhex(t, "2200 6100 3dd8 2200"), "", ErrPwdSurrogate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pw, err := DecodeUnicodePwd(tt.in)
			if err != tt.err || string(pw.Expose()) != tt.want {
				t.Fatalf("got %q, %v, want %q, %v", pw.Expose(), err, tt.want, tt.err)
			}
			if err != nil {
				return
			}
			back, err := AppendUnicodePwd([]byte("before"), pw.Expose())
			if err != nil || !bytes.Equal(back, append([]byte("before"), tt.in...)) {
				t.Errorf("encoded again: %x, %v", back, err)
			}
		})
	}
}

func TestAppendUnicodePwdRefuses(t *testing.T) {
	tests := []struct {
		in   string
		want error
	}{
		{"", ErrPwdEmpty}, {"a\x00b", ErrPwdNUL}, {"a\xff", ErrPwdNotUTF8}, {"\xed\xa0\x80", ErrPwdNotUTF8}, {"\xc0\x80", ErrPwdNotUTF8},
	}
	for _, tt := range tests {
		got, err := AppendUnicodePwd([]byte("before"), []byte(tt.in))
		if !errors.Is(err, tt.want) || string(got) != "before" {
			t.Errorf("AppendUnicodePwd(%q) = %q, %v, want %v", tt.in, got, err, tt.want)
		}
	}
}
