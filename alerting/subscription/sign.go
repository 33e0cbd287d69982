package subscription

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// keys are what events are signed with; the first is the newest.
type keys [][]byte

// prefix begins a secret as people write it down.
const prefix = "whsec_"

// How many bytes a key has.
const (
	minKey = 24
	maxKey = 64
)

// parseKeys reads secrets with white space between them. Its errors show nothing of them.
// Source: Standard Webhooks specification, signature scheme: base64, prefixed with whsec_, 24 to 64 bytes.
func parseKeys(text string) (keys, error) {
	var all keys
	for i, word := range strings.Fields(text) {
		encoded, marked := strings.CutPrefix(word, prefix)
		if !marked {
			return nil, fmt.Errorf("secret %d does not begin with %s", i+1, prefix)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("secret %d is not base64 after %s", i+1, prefix)
		}
		if len(key) < minKey || len(key) > maxKey {
			return nil, fmt.Errorf("secret %d has %d bytes, not %d to %d", i+1, len(key), minKey, maxKey)
		}
		all = append(all, key)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no secret")
	}
	return all, nil
}

// headers are those by which a receiver knows who sent the body, when, and whether it had it before.
func (k keys) headers(id string, at time.Time, body []byte) map[string]string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(k))
	for _, key := range k {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + seconds + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return map[string]string{"webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": strings.Join(signatures, " ")}
}
