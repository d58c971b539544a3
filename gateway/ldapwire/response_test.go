package ldapwire

import (
	"testing"
)

func TestParseResult(t *testing.T) {
	tests := []struct {
		name, in      string
		code          ResultCode
		matched, diag string
		uris          []string
	}{
		{"success", "0a 01 00 04 00 04 00", ResultSuccess, "", "", nil},
		{"with texts", "0a 01 20 04 01 6d 04 02 64 00", ResultNoSuchObject, "m", "d\x00", nil},
		{"long lengths", "0a 84 00000001 31 04 84 00000000 04 84 00000001 64", ResultInvalidCredentials, "", "d", nil},
		{"two-octet code", "0a 02 10 00 04 00 04 00", 4096, "", "", nil},
		{"referral", "0a 01 0a 04 00 04 00 a3 06 04 01 61 04 01 62", ResultReferral, "", "", []string{"a", "b"}},
		{"server credentials behind", "0a 01 0e 04 00 04 00 87 01 41", ResultSaslBindInProgress, "", "", nil},
		{"name and value behind", "0a 01 00 04 00 04 00 8a 01 41 8b 00", ResultSuccess, "", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseResult(unhex(t, tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if r.Code != tt.code || string(r.MatchedDN) != tt.matched || string(r.Diagnostic) != tt.diag {
				t.Errorf("got %v %q %q", r.Code, r.MatchedDN, r.Diagnostic)
			}
			if (r.Referral != nil) != (tt.uris != nil) {
				t.Errorf("referral: got %x", r.Referral)
			}
			uris := r.URIs()
			if uris.Len() != len(tt.uris) {
				t.Errorf("got %v, want %q", uris, tt.uris)
			}
			for _, want := range tt.uris {
				if got, _ := uris.Next(); string(got) != want {
					t.Errorf("URI: got %q, want %q", got, want)
				}
			}
		})
	}
	for name, in := range map[string]string{
		"nothing": "", "code only": "0a 01 00", "integer code": "02 01 00 04 00 04 00", "negative code": "0a 01 ff 04 00 04 00",
		"no diagnostic": "0a 01 00 04 00", "referral of integers": "0a 01 0a 04 00 04 00 a3 03 02 01 00",
		"cut short": "0a 01 00 04 00 04 01",
	} {
		_, err := ParseResult(unhex(t, in))
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		wantErr(t, err, ErrMalformed)
	}
}

// TestNoticeOfDisconnection compares with bytes a server is known to send.
func TestNoticeOfDisconnection(t *testing.T) {
	const want = "3024020100781f0a0102040004008a16312e332e362e312e342e312e313436362e3230303336"
	frame := AppendNoticeOfDisconnection(nil, ResultProtocolError, "")
	if string(frame) != string(unhex(t, want)) {
		t.Errorf("got %x, want %s", frame, want)
	}
	r, err := ParseExtendedResponse(body(t, frame, OpExtendedResponse))
	if err != nil || string(r.Name) != OIDNoticeOfDisconnection || !r.HasName || r.HasValue || r.Code != ResultProtocolError {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestOps(t *testing.T) {
	responses := map[Op]Op{
		OpBindRequest: OpBindResponse, OpUnbindRequest: 0, OpSearchRequest: OpSearchResultDone,
		OpModifyRequest: OpModifyResponse, OpAddRequest: OpAddResponse, OpDelRequest: OpDelResponse,
		OpModifyDNRequest: OpModifyDNResponse, OpCompareRequest: OpCompareResponse, OpAbandonRequest: 0,
		OpExtendedRequest: OpExtendedResponse,
	}
	names := map[string]Op{}
	for i := range 256 {
		op := Op(i)
		want, isRequest := responses[op]
		if op.IsRequest() != isRequest || op.Response() != want {
			t.Errorf("%v: IsRequest = %t, Response = %v, want %t, %v", op, op.IsRequest(), op.Response(), isRequest, want)
		}
		final := false
		for _, r := range responses {
			final = final || r != 0 && r == op
		}
		if op.IsFinalResponse() != final {
			t.Errorf("%v: IsFinalResponse = %t", op, !final)
		}
		if other, taken := names[op.String()]; taken {
			t.Errorf("%#x and %#x are both %q", byte(op), byte(other), op)
		}
		names[op.String()] = op
	}
	if got := Op(0x5e).String(); got != "op(0x5e)" {
		t.Errorf("unknown operation: got %q", got)
	}
}

func TestResultCodeString(t *testing.T) {
	tests := map[ResultCode]string{
		0: "success", 9: "resultCode(9)", 15: "resultCode(15)", 16: "noSuchAttribute", 49: "invalidCredentials",
		53: "unwillingToPerform", 71: "affectsMultipleDSAs", 80: "other", 81: "resultCode(81)", 118: "canceled",
		123: "authorizationDenied", -1: "resultCode(-1)", 4096: "resultCode(4096)",
	}
	for code, want := range tests {
		if got := code.String(); got != want {
			t.Errorf("%d: got %q, want %q", int(code), got, want)
		}
	}
}

func TestSubCode(t *testing.T) {
	ad := "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data "
	tests := []struct {
		in   string
		want uint32
		ok   bool
	}{
		{ad + "52e, v4563", 0x52e, true},
		{ad + "52e, v4563\x00", 0x52e, true},
		{ad + "52E, v4563", 0x52e, true},
		{ad + "775\x00", 0x775, true},
		{ad + "532", 0x532, true},
		{ad + "80090346, v4f7c", 0x80090346, true},
		{ad + "0, v1db1", 0, true},
		{ad + "52e,", 0x52e, true},
		{ad + "1234567890, v1", 0, false},
		{ad + "52g, v1", 0, false},
		{ad + ", v1", 0, false},
		{ad, 0, false},
		{"0000208D: NameErr: DSID-03100288, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'DC=x'\n", 0, false},
		{"data 52e", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if got, ok := SubCode([]byte(tt.in)); got != tt.want || ok != tt.ok {
			t.Errorf("SubCode(%q) = %#x, %t, want %#x, %t", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestWin32Code(t *testing.T) {
	tests := []struct {
		in   string
		want uint32
		ok   bool
	}{
		{"0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0\n\x00", 0x52d, true},
		{"0000052d: Constraint violation", 0x52d, true},
		{"80090308: LdapErr", 0x80090308, true},
		{"00000056:", 0x56, true},
		{"0000052D", 0, false},
		{"52D: x", 0, false},
		{"00000052D: x", 0, false},
		{"LdapErr: 0000052D: x", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if got, ok := Win32Code([]byte(tt.in)); got != tt.want || ok != tt.ok {
			t.Errorf("Win32Code(%q) = %#x, %t, want %#x, %t", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}
