// Package secret holds password bytes and seals them.
//
// [Bytes] is the only type in which a password travels from the decoder to the
// point where it is sent or sealed.
package secret
