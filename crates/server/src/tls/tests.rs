//! Files as operators have them. The keys are one and the same, made by OpenSSL 3.0 for this test:
//! `openssl ec -aes256`, `openssl pkcs8 -topk8 -v2 aes-256-cbc` and so on.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, date_time_ymd,
};
use rustls::pki_types::UnixTime;
use tempfile::TempDir;

use super::*;

/// A directory with files of these names and contents.
fn files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn load_from(directory: &TempDir, key: Option<&str>, password: Option<&str>) -> Result<(), String> {
    let path = |name: &str| directory.path().join(name);
    let options = options::Tls {
        tls_cert: Some(path("cert")),
        tls_key: key.map(path),
        tls_key_password_file: password.map(path),
        tls_client_ca: None,
    };
    match load(&options) {
        Ok(config) => {
            assert!(config.is_some());
            Ok(())
        }
        Err(error) => {
            Err(format!("{error:#}").replace(&format!("{}/", directory.path().display()), ""))
        }
    }
}

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&Pem::new(tag, der))
}

#[test]
fn keys_are_read_in_all_usual_forms() {
    for (kind, key) in [
        ("SEC1", SEC1),
        ("PKCS#8", PKCS8),
        ("AES in OpenSSL's own way", LEGACY_AES),
        ("DES in OpenSSL's own way", LEGACY_DES),
        ("PKCS#8 with AES", PKCS8_AES),
        ("PKCS#8 with DES and SHA-1", PKCS8_DES),
        ("PKCS#8 with scrypt", PKCS8_SCRYPT),
    ] {
        let both = format!("{CERTIFICATE}{key}");
        let directory = files(&[
            ("cert", CERTIFICATE),
            ("both", &both),
            ("key", key),
            ("word", "secret\nmore"),
        ]);
        assert_eq!(load_from(&directory, Some("key"), Some("word")), Ok(()), "{kind}");
        fs::rename(directory.path().join("both"), directory.path().join("cert")).unwrap();
        assert_eq!(load_from(&directory, None, Some("word")), Ok(()), "{kind}");
        if key.contains("ENCRYPTED") {
            let error = load_from(&directory, Some("key"), None).unwrap_err();
            assert!(error.contains("the private key in key is encrypted"), "{kind}: {error}");
            fs::write(directory.path().join("word"), "wrong").unwrap();
            let error = load_from(&directory, Some("key"), Some("word")).unwrap_err();
            let line = "the password in word does not open the private key in key";
            assert_eq!(error, line, "{kind}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let other = pem("PRIVATE KEY", &KeyPair::generate().unwrap().serialize_der());
    let damaged = PKCS8.replacen("MIGH", "MIGG", 1);
    let unknown = LEGACY_AES.replace("AES-256-CBC", "IDEA-CBC");
    let short = LEGACY_AES.replace("B1895592C1376795517420B6CF5CAAEA", "B189");
    let directory = files(&[
        ("cert", CERTIFICATE),
        ("other", &other),
        ("damaged", &damaged),
        ("unknown", &unknown),
        ("short", &short),
        ("ssh", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
        ("binary", "\u{1}"),
        ("word", "secret"),
    ]);
    for (key, why) in [
        ("other", "the private key in other does not belong to the first certificate in cert"),
        ("damaged", "the private key in damaged: "),
        ("unknown", "it is encrypted with IDEA-CBC, which is not known here"),
        ("short", "its initial vector is not in hexadecimal, or too short"),
        ("ssh", "'OPENSSH PRIVATE KEY' is no kind of key for TLS"),
        ("binary", "there is no private key in binary"),
        ("cert", "there is no private key in cert"),
        ("none", "cannot read none: No such file"),
    ] {
        let error = load_from(&directory, Some(key), Some("word")).unwrap_err();
        assert!(error.contains(why), "{key}: {error}");
    }
    fs::write(directory.path().join("cert"), PKCS8).unwrap();
    assert_eq!(load_from(&directory, None, None).unwrap_err(), "there is no certificate in cert");
}

/// An authority, or somebody who only looks like one.
fn issuer(is_ca: IsCa) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = is_ca;
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Whether `client` is let in by what is in `directory`, some years from now.
fn lets_in(directory: &Path, client: &CertificateDer<'_>, years: u64) -> bool {
    let provider = Arc::new(ring::default_provider());
    let verifier = clients::verifier(directory, &provider).unwrap();
    let now = UnixTime::now().as_secs() + years * 365 * 24 * 3600;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    verifier.verify_client_cert(client, &[], now).is_ok()
}

#[test]
fn clients_are_let_in_by_their_authority_or_by_their_own_certificate() {
    let authority = issuer(IsCa::Ca(BasicConstraints::Unconstrained));
    let leaf = issuer(IsCa::ExplicitNoCa);
    let signed_by = |issuer: &CertifiedIssuer<'static, KeyPair>| {
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    };
    let directory = files(&[
        ("authority.pem", &pem("CERTIFICATE", authority.der())),
        ("leaf.pem", &pem("CERTIFICATE", leaf.der())),
        ("0a1b2c3d.0", &pem("CERTIFICATE", leaf.der())),
        ("listed.pem", CERTIFICATE),
        ("notes.txt", "no PEM"),
    ]);
    fs::create_dir(directory.path().join("more")).unwrap();
    let listed = certificates(&pem::parse_many(CERTIFICATE).unwrap()).remove(0);
    let path = directory.path();
    assert!(lets_in(path, &signed_by(&authority), 0));
    // It has an authority's flag, which a verifier of chains does not take from a client.
    assert!(lets_in(path, &listed, 0));
    assert!(!lets_in(path, &listed, 200), "it is good for a hundred years");
    assert!(lets_in(path, leaf.der(), 0));
    assert!(!lets_in(path, &signed_by(&leaf), 0), "it may sign nothing");
    let stranger = issuer(IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(!lets_in(path, &signed_by(&stranger), 0));
    assert!(!lets_in(path, stranger.der(), 0));
    assert!(!lets_in(&path.join("leaf.pem"), &signed_by(&authority), 0));
}

#[test]
fn a_certificate_that_its_authority_revoked_lets_nobody_in() {
    let authority = issuer(IsCa::Ca(BasicConstraints::Unconstrained));
    let signed = |serial: u64| {
        let mut params = CertificateParams::new(["client".to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap().der().clone()
    };
    let revoked = RevokedCertParams {
        serial_number: 5.into(),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(4000, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = pem("X509 CRL", list.signed_by(&authority).unwrap().der());
    let directory = files(&[("authority", &pem("CERTIFICATE", authority.der())), ("list", &list)]);
    assert!(!lets_in(directory.path(), &signed(5), 0));
    assert!(lets_in(directory.path(), &signed(6), 0));
    fs::remove_file(directory.path().join("list")).unwrap();
    assert!(lets_in(directory.path(), &signed(5), 0));
}

#[test]
fn without_a_certificate_of_clients_there_is_no_server() {
    let provider = Arc::new(ring::default_provider());
    let directory =
        files(&[("notes.txt", "no PEM"), ("broken", &CERTIFICATE.replace("MIIB", "MIIA"))]);
    for (name, why) in [
        ("none", "cannot read"),
        ("notes.txt", "there is no certificate in"),
        ("broken", "there is a malformed certificate in"),
    ] {
        let error = clients::verifier(&directory.path().join(name), &provider).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
    fs::remove_file(directory.path().join("broken")).unwrap();
    let error = clients::verifier(directory.path(), &provider).unwrap_err();
    assert!(format!("{error:#}").contains("there is no certificate in"), "{error:#}");
}

const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUYhsSGsjSpMaOKrvnOyESjgLihccwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUwODMxMTZaGA8yMTI2MTEwMTA4MzEx
NlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAQk
TW5YmVOKsbIpK0GQy6hrMNDK7u+FkUNrvtOWi0r78flAhmraTJa7QFaYTERAfYIS
rwU6FYuorOUVcZzBIpKjUzBRMB0GA1UdDgQWBBR7vZbSLKNwPLWRs5YyYeIaJpdj
3DAfBgNVHSMEGDAWgBR7vZbSLKNwPLWRs5YyYeIaJpdj3DAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIAFPx/pwFXolVH9MUzUOgzBYXw6Jo87HzB3e
PuBSQm8mAiEA0/RKQOBW9z6LRfq1EAda0r8prQ0PIVuTDDOXZoVTA6o=
-----END CERTIFICATE-----
";

const SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEINfo55iy8XlaSB/CzDVAxSk/5gZ2V+dTF8Sc9IbWxq3uoAoGCCqGSM49
AwEHoUQDQgAEBCRNbliZU4qxsikrQZDLqGsw0Mru74WRQ2u+05aLSvvx+UCGatpM
lrtAVphMREB9ghKvBToVi6is5RVxnMEikg==
-----END EC PRIVATE KEY-----
";

const PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1+jnmLLxeVpIH8LM
NUDFKT/mBnZX51MXxJz0htbGre6hRANCAAQEJE1uWJlTirGyKStBkMuoazDQyu7v
hZFDa77TlotK+/H5QIZq2kyWu0BWmExEQH2CEq8FOhWLqKzlFXGcwSKS
-----END PRIVATE KEY-----
";

const LEGACY_AES: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,B1895592C1376795517420B6CF5CAAEA

14z58tHf9E9KilszwTs1+1nOdkm6FZBu9XeSUCEvFBAPHS61o1raiEnDVNDyMk9I
ceG1MdIny5vzVv7Yz5K1oATb302t3ZqF2PnBHlQOUAjsMHebMjOI4MSnIs24VFQo
tP6OYCj0xo53VpAB6JJm0XbzWNOCTTg2O61nSWluAh8=
-----END EC PRIVATE KEY-----
";

const LEGACY_DES: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: DES-EDE3-CBC,68373F8D328C8CD8

a/4nqC4H/yKo2Olr8hO1wTfqhgwC78fnYFQTKwbUaBZCwW2Y204SDT2IJ5Gdydnr
GojhO+mWTXLBTmD5jk/8f/puQhEOIVyUsYCCiHjOfO97IPvTcIrK+ea/p0I3HcQO
fC3i9f4vWCoGTApjhW62hOip7p1wQjBica0whMF7bfc=
-----END EC PRIVATE KEY-----
";

const PKCS8_AES: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg4SZp8apfjNwICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEA5yYfLlj2IOfXT9D6CoXhQEgZBD
izJ0ELSKehICMRcPr6hDGtxJN3bOTxCEk1JSyar1245UulT7Efu3Pfdf6CILprzF
OY2I3rylKKD5LnjBHMRI3ZBeNED0s+0WqtKHUu02BlEHHqoGhOCTkctGzcHGsrdt
VSe1RXdbJqT01QqbHmZ+BoWAAMarTdjN7JsfhrLGO8i3mXjTzVYL4+JlQ5O1Kdw=
-----END ENCRYPTED PRIVATE KEY-----
";

const PKCS8_DES: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHVMEAGCSqGSIb3DQEFDTAzMBsGCSqGSIb3DQEFDDAOBAgnAz/a8dv8twICCAAw
FAYIKoZIhvcNAwcECAyGOMx3zgpTBIGQqUceo6cux90ahrwNztISqFxis9GnhHgN
Pwl2uYTVwMuKZ0pcn+J14FGRZFwRZmIsfGFsAMC3eNX1PDMJBmi5efuJe9Bf5AEF
D9a8BL1IM3ibVtoSiwNzMwbkQ3caxz56ESXmgWebU656k0Y3/uuvsPipAarMHQBY
MWTzjkTumy5SdZDqimlpFnPEm0vGlZy+
-----END ENCRYPTED PRIVATE KEY-----
";

const PKCS8_SCRYPT: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAi8oL0UexDQagICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBBMG+HgJpmLlOHh4IaaMPIuBIGQMrst2uKfS1QP
7DJnJSxXb9DRb3s/RH/y69/ND7E5DA4H5awhvpHVFvjF6heImWMrOSif1L1weGYK
QaZFRaC/nNwOtg7h4PpnmxTo0/iBsLBI8/nbl0n25mCzj5AVRNvsIO6onWm/UY04
134tjBdlkZ8Tbfvf/SIHy2CelFmIfd68QpehMYh/9H1db6TS3Vt7
-----END ENCRYPTED PRIVATE KEY-----
";
