// Package jsonbody reads the bodies of the delegate API's requests.
//
// encoding/json makes a string of every value, and a string cannot be wiped.
// Read takes passwords out of the body as secrets, with no copy left behind.
//
// It is a package of its own so that the fuzzer instruments it alone, and not
// the API's validator with all that it imports.
package jsonbody
