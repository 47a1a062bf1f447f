package main

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// golang-jwt with all its checks. It reads no JWKS, which go-jose does for it, and knows neither
// `typ` nor a claim of ours.
func golangJWT(test Case) error {
	keys, err := test.KeySet()
	if err != nil {
		return err
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256", "EdDSA", "RS256"}),
		jwt.WithStrictDecoding(),
		jwt.WithIssuer(test.Iss),
		jwt.WithAudience(test.Aud),
		jwt.WithExpirationRequired(),
		jwt.WithNotBeforeRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(time.Duration(test.Leeway)*time.Second),
		jwt.WithTimeFunc(func() time.Time { return time.Unix(test.Now, 0) }),
	)
	_, err = parser.Parse(test.Token, func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		for _, key := range keys.Key(kid) {
			if key.Algorithm == token.Method.Alg() {
				return key.Key, nil
			}
		}
		return nil, errors.New("no key of this kid and algorithm")
	})
	return err
}
