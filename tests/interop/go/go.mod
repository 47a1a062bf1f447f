// What Go's libraries make of Scrip's tokens.
module scrip-sts/interop

go 1.24.0

require (
	github.com/go-jose/go-jose/v4 v4.1.8
	github.com/golang-jwt/jwt/v5 v5.3.1
)
