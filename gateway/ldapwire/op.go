package ldapwire

import "fmt"

// An Op is the tag of a protocolOp (RFC 4511 section 4.1.1 and appendix B).
type Op byte

// Operations, by tag octet: APPLICATION class, primitive for unbind, delete
// and abandon requests.
const (
	OpBindRequest           Op = 0x60
	OpBindResponse          Op = 0x61
	OpUnbindRequest         Op = 0x42
	OpSearchRequest         Op = 0x63
	OpSearchResultEntry     Op = 0x64
	OpSearchResultDone      Op = 0x65
	OpSearchResultReference Op = 0x73
	OpModifyRequest         Op = 0x66
	OpModifyResponse        Op = 0x67
	OpAddRequest            Op = 0x68
	OpAddResponse           Op = 0x69
	OpDelRequest            Op = 0x4a
	OpDelResponse           Op = 0x6b
	OpModifyDNRequest       Op = 0x6c
	OpModifyDNResponse      Op = 0x6d
	OpCompareRequest        Op = 0x6e
	OpCompareResponse       Op = 0x6f
	OpAbandonRequest        Op = 0x50
	OpExtendedRequest       Op = 0x77
	OpExtendedResponse      Op = 0x78
	OpIntermediateResponse  Op = 0x79
)

// String returns a short name: "bind" for a request, "bind response" for its
// response.
func (op Op) String() string {
	switch op {
	case OpBindRequest:
		return "bind"
	case OpBindResponse:
		return "bind response"
	case OpUnbindRequest:
		return "unbind"
	case OpSearchRequest:
		return "search"
	case OpSearchResultEntry:
		return "search entry"
	case OpSearchResultDone:
		return "search done"
	case OpSearchResultReference:
		return "search reference"
	case OpModifyRequest:
		return "modify"
	case OpModifyResponse:
		return "modify response"
	case OpAddRequest:
		return "add"
	case OpAddResponse:
		return "add response"
	case OpDelRequest:
		return "delete"
	case OpDelResponse:
		return "delete response"
	case OpModifyDNRequest:
		return "modify_dn"
	case OpModifyDNResponse:
		return "modify_dn response"
	case OpCompareRequest:
		return "compare"
	case OpCompareResponse:
		return "compare response"
	case OpAbandonRequest:
		return "abandon"
	case OpExtendedRequest:
		return "extended"
	case OpExtendedResponse:
		return "extended response"
	case OpIntermediateResponse:
		return "intermediate response"
	}
	return fmt.Sprintf("op(0x%02x)", byte(op))
}

// IsRequest reports whether op is an operation of RFC 4511 that a client
// starts.
func (op Op) IsRequest() bool {
	switch op {
	case OpBindRequest, OpUnbindRequest, OpSearchRequest, OpModifyRequest, OpAddRequest, OpDelRequest,
		OpModifyDNRequest, OpCompareRequest, OpAbandonRequest, OpExtendedRequest:
		return true
	}
	return false
}

// Response returns the operation that ends a request; 0 if op has no response
// (unbind, abandon) or is no request.
func (op Op) Response() Op {
	switch op {
	case OpSearchRequest:
		return OpSearchResultDone
	case OpDelRequest:
		return OpDelResponse
	case OpBindRequest, OpModifyRequest, OpAddRequest, OpModifyDNRequest, OpCompareRequest, OpExtendedRequest:
		return op + 1
	}
	return 0
}

// IsFinalResponse reports whether op ends a request: all responses but search
// entries, search references and intermediate responses.
func (op Op) IsFinalResponse() bool {
	switch op {
	case OpBindResponse, OpSearchResultDone, OpModifyResponse, OpAddResponse, OpDelResponse,
		OpModifyDNResponse, OpCompareResponse, OpExtendedResponse:
		return true
	}
	return false
}
