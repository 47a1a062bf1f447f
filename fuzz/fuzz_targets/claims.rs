#![no_main]
//! Accepted claims say what a slower reading says, keep every known claim, and read back equal.

use libfuzzer_sys::fuzz_target;
use scrip_fuzz::{says, sole_meaning};
use scrip_token::Claims;
use scrip_token::limits::MAX_INTEGER;
use serde_json::Value;

fuzz_target!(|payload: &[u8]| {
    let Ok(claims) = Claims::parse(payload) else { return };
    let said = sole_meaning(payload).expect("claims with a second meaning were accepted");
    let written = serde_json::to_value(&claims).unwrap();
    assert!(says(&said, &written), "{said} was read as {written}");
    for claim in ["models", "budget", "cidrs", "lin", "act", "cnf", "cred"] {
        let nothing = matches!(claim, "models" | "lin").then(|| Value::Array(Vec::new()));
        let kept = written.get(claim).is_some() || said.get(claim) == nothing.as_ref();
        assert!(kept || said.get(claim).is_none(), "`{claim}` of {said} is lost");
    }
    assert!(claims.iat == claims.nbf && claims.iat < claims.exp && claims.exp < MAX_INTEGER);
    assert_eq!((claims.ver, claims.jti.seconds()), (1, claims.iat));
    assert_eq!(Claims::parse(written.to_string().as_bytes()), Ok(claims));
});
