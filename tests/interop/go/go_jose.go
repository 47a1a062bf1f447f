package main

import (
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// go-jose with all its checks; it knows none of `typ`, and requires no claim.
func goJose(test Case) error {
	keys, err := test.KeySet()
	if err != nil {
		return err
	}
	algorithms := []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256}
	token, err := jwt.ParseSigned(test.Token, algorithms)
	if err != nil {
		return err
	}
	if token.Headers[0].KeyID == "" {
		return errors.New("no kid")
	}
	var claims jwt.Claims
	if err := token.Claims(keys, &claims); err != nil {
		return err
	}
	expected := jwt.Expected{
		Issuer:      test.Iss,
		AnyAudience: jwt.Audience{test.Aud},
		Time:        time.Unix(test.Now, 0),
	}
	return claims.ValidateWithLeeway(expected, time.Duration(test.Leeway)*time.Second)
}
