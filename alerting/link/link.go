// Package link makes the links by which whoever was told of an incident acknowledges it from a phone, without a login.
//
// In: whom which page of which incident is for, and until when its link holds. Out: a token for a URL, and back again.
// It promises that nobody without the key can make a token or change what one says, and that a token tells nothing that
// its page does not. It never knows whether a link was used: whoever serves it does.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Life is how long a link holds.
const Life = 7 * 24 * time.Hour

// KeySize is how many bytes a key has at least: as many as the hash gives.
const KeySize = sha256.Size

// ErrForged says that the token was not made with this key, or was changed or cut short on its way; ErrExpired that its
// time is over.
var (
	ErrForged  = errors.New("this is no link of ours")
	ErrExpired = errors.New("this link has expired")
)

// Link says who may acknowledge what.
type Link struct {
	// Incident and Page are ids: a page has one link.
	Incident, Page string
	// Receiver is the way by which the page went, Person whom it was for; empty when many read there.
	Receiver, Person string
	// Expires is when it stops to hold, in whole seconds.
	Expires time.Time
}

// Key signs links.
type Key struct{ secret []byte }

// NewKey makes a key of a secret.
func NewKey(secret []byte) (Key, error) {
	if len(secret) < KeySize {
		return Key{}, fmt.Errorf("the key has %d bytes: it needs %d or more, from a source of randomness", len(secret), KeySize)
	}
	return Key{secret}, nil
}

// version is the first byte of a token; macSize is how much of the hash stands at its end: half of it is enough against
// forging (RFC 2104, section 5), and short links survive more ways.
const (
	version = 1
	macSize = sha256.Size / 2
)

// maxToken bounds what Open looks at, in bytes.
const maxToken = 2048

// domain keeps what is signed here from being anything else that is signed with the same key.
const domain = "kemi acknowledge link\x00"

// Sign makes the token of a link. It is the same every time.
func (k Key) Sign(l Link) string {
	data := []byte{version}
	data = binary.BigEndian.AppendUint64(data, uint64(l.Expires.Unix()))
	for _, s := range []string{l.Incident, l.Page, l.Receiver, l.Person} {
		data = binary.AppendUvarint(data, uint64(len(s)))
		data = append(data, s...)
	}
	return base64.RawURLEncoding.EncodeToString(append(data, k.mac(data)...))
}

func (k Key) mac(data []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(domain))
	h.Write(data)
	return h.Sum(nil)[:macSize]
}

// Open reads a token. Of one that has expired it says what it was for, with ErrExpired. The comparison takes equally long
// wherever the difference is.
func (k Key) Open(token string, now time.Time) (Link, error) {
	if len(k.secret) == 0 || len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // Which the decoder leaves out.
		return Link{}, ErrForged
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(data) < 9+macSize {
		return Link{}, ErrForged
	}
	data, mac := data[:len(data)-macSize], data[len(data)-macSize:]
	if !hmac.Equal(mac, k.mac(data)) || data[0] != version {
		return Link{}, ErrForged
	}
	l := Link{Expires: time.Unix(int64(binary.BigEndian.Uint64(data[1:])), 0).UTC()}
	rest := data[9:]
	for _, s := range []*string{&l.Incident, &l.Page, &l.Receiver, &l.Person} {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return Link{}, ErrForged // Signed, but by no code of ours.
		}
		*s, rest = string(rest[size:size+int(n)]), rest[size+int(n):]
	}
	if len(rest) > 0 {
		return Link{}, ErrForged
	}
	if !now.Before(l.Expires) {
		return l, ErrExpired
	}
	return l, nil
}
