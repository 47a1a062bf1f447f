// What a library of tokens says to each line of a file of cases: `accept`, or `refuse` and why.
//
// usage: judge golang-jwt|go-jose CASES
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/go-jose/go-jose/v4"
)

// Case is a token and what its verifier expects; times are in seconds.
type Case struct {
	Token  string `json:"token"`
	JWKS   string `json:"jwks"`
	Iss    string `json:"iss"`
	Aud    string `json:"aud"`
	Now    int64  `json:"now"`
	Leeway int64  `json:"leeway"`
}

var libraries = map[string]func(Case) error{
	"golang-jwt": golangJWT,
	"go-jose":    goJose,
}

func main() {
	judge := libraries[os.Args[1]]
	file, err := os.Open(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	answers := bufio.NewWriter(os.Stdout)
	for cases := json.NewDecoder(file); cases.More(); {
		var test Case
		if err := cases.Decode(&test); err != nil {
			log.Fatal(err)
		}
		if err := judge(test); err != nil {
			fmt.Fprintf(answers, "refuse %.100q\n", err.Error())
		} else {
			fmt.Fprintln(answers, "accept")
		}
	}
	if err := answers.Flush(); err != nil {
		log.Fatal(err)
	}
}

var keySets = map[string]*jose.JSONWebKeySet{}

// KeySet reads each set once.
func (test Case) KeySet() (*jose.JSONWebKeySet, error) {
	if keySets[test.JWKS] == nil {
		keys := new(jose.JSONWebKeySet)
		if err := json.Unmarshal([]byte(test.JWKS), keys); err != nil {
			return nil, err
		}
		keySets[test.JWKS] = keys
	}
	return keySets[test.JWKS], nil
}
