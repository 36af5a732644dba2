//! The server's private key: in PKCS#1, PKCS#8 or SEC1, encrypted or not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipher, BlockDecryptMut, KeyInit, KeyIvInit as _};
use anyhow::{Context as _, bail};
use md5::{Digest as _, Md5};
use pem::Pem;
use pkcs8::EncryptedPrivateKeyInfo;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

/// Reads the first private key in `file`, whose password is the first line of `password_file`.
pub(super) fn load(
    file: &Path,
    password_file: Option<&Path>,
    provider: &CryptoProvider,
) -> anyhow::Result<Arc<dyn SigningKey>> {
    let blocks = super::blocks(file)?;
    let Some(block) = blocks.iter().find(|block| block.tag().ends_with("PRIVATE KEY")) else {
        bail!("there is no private key in {}", file.display());
    };
    let whose = || format!("the private key in {}", file.display());
    let plain = if is_encrypted(block) {
        let Some(password_file) = password_file else {
            bail!("{} is encrypted: --tls-key-password-file has to name its password", whose());
        };
        let password = first_line(password_file)?;
        let decrypted = decrypt(block, &password).with_context(whose)?;
        // A wrong password now and then leaves something that looks right, and is no key.
        let key = decrypted.and_then(|plain| loaded(&plain, provider).ok());
        return key.with_context(|| {
            format!("the password in {} does not open {}", password_file.display(), whose())
        });
    } else {
        Plain { tag: block.tag(), der: block.contents().to_vec() }
    };
    loaded(&plain, provider).with_context(whose)
}

/// A key that is not encrypted.
struct Plain<'a> {
    tag: &'a str,
    der: Vec<u8>,
}

fn loaded(plain: &Plain<'_>, provider: &CryptoProvider) -> anyhow::Result<Arc<dyn SigningKey>> {
    let der = plain.der.clone();
    let key = match plain.tag {
        "PRIVATE KEY" => PrivateKeyDer::Pkcs8(der.into()),
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der.into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der.into()),
        tag => bail!("'{tag}' is no kind of key for TLS"),
    };
    Ok(provider.key_provider.load_private_key(key)?)
}

fn is_encrypted(block: &Pem) -> bool {
    block.tag() == ENCRYPTED_PKCS8 || block.headers().get(LEGACY_CIPHER).is_some()
}

fn first_line(file: &Path) -> anyhow::Result<Vec<u8>> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

/// `None`: the password is wrong.
fn decrypt<'a>(block: &'a Pem, password: &[u8]) -> anyhow::Result<Option<Plain<'a>>> {
    if let Some(cipher) = block.headers().get(LEGACY_CIPHER) {
        let der = decrypt_legacy(cipher, block.contents(), password)?;
        return Ok(der.map(|der| Plain { tag: block.tag(), der }));
    }
    let Ok(encrypted) = EncryptedPrivateKeyInfo::try_from(block.contents()) else {
        bail!("it is encrypted in a way that is not known here; AES with PBKDF2 or scrypt is");
    };
    let decrypted = encrypted.encryption_algorithm.decrypt(password, encrypted.encrypted_data);
    Ok(decrypted.ok().map(|der| Plain { tag: "PRIVATE KEY", der }))
}

/// OpenSSL's own way, from before PKCS#8: `cipher` is its name, a comma, and the initial vector.
fn decrypt_legacy(cipher: &str, data: &[u8], password: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let (name, vector) = cipher.split_once(',').unwrap_or((cipher, ""));
    let opened = match name.trim() {
        "DES-EDE3-CBC" => decrypt_cbc::<des::TdesEde3>(vector, data, password),
        "AES-128-CBC" => decrypt_cbc::<aes::Aes128>(vector, data, password),
        "AES-192-CBC" => decrypt_cbc::<aes::Aes192>(vector, data, password),
        "AES-256-CBC" => decrypt_cbc::<aes::Aes256>(vector, data, password),
        name => bail!("it is encrypted with {name}, which is not known here; AES-256-CBC is"),
    };
    opened.context("its initial vector is not in hexadecimal, or too short")
}

/// The outer `None`: a wrong `vector`.
fn decrypt_cbc<C>(vector: &str, data: &[u8], password: &[u8]) -> Option<Option<Vec<u8>>>
where
    C: BlockCipher + BlockDecryptMut + KeyInit,
{
    let vector = unhex(vector.trim())?;
    let key = legacy_key(password, vector.get(..SALT_BYTES)?, C::key_size());
    let decryptor = cbc::Decryptor::<C>::new_from_slices(&key, &vector).ok()?;
    Some(decryptor.decrypt_padded_vec_mut::<Pkcs7>(data).ok())
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn legacy_key(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut key = Vec::new();
    let mut last = Vec::new();
    while key.len() < length {
        last = Md5::new()
            .chain_update(&last)
            .chain_update(password)
            .chain_update(salt)
            .finalize()
            .to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

const ENCRYPTED_PKCS8: &str = "ENCRYPTED PRIVATE KEY";

/// The header that names the cipher of a key in OpenSSL's own encryption.
const LEGACY_CIPHER: &str = "DEK-Info";

/// Of the initial vector.
const SALT_BYTES: usize = 8;
